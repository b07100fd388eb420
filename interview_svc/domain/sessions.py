"""Session: one interview of one order.

    PREPARED → IN_PROGRESS → COMPLETED → EVALUATED
    PREPARED | IN_PROGRESS → EXPIRED | CANCELLED

A PREPARED session is a function of its order's cached code. After the start the code has no effect
on the session, except that payment can reject its use.
"""

from datetime import datetime, timedelta

from interview_svc.domain.cached_code import CachedCode, CodeStatus
from interview_svc.domain.errors import (
    QuestionNotOpen,
    SessionCancelledBeforeStart,
    SessionExpiredBeforeStart,
    SessionNotCancellable,
    SessionNotCompleted,
    SessionNotExpirable,
    SessionNotInProgress,
    SessionNotStartable,
    SessionNotStarted,
)
from interview_svc.domain.events import (
    CancelReason,
    FeedbackPublished,
    InterviewCompleted,
    InterviewStarted,
    SessionCancelled,
    SessionExpired,
    SessionPrepared,
    ValidationSource,
)
from interview_svc.domain.feedback import Feedback
from interview_svc.domain.qa_records import QARecord, QARecordStatus
from interview_svc.domain.session_state import SessionState, SessionStatus

_ENDED_BEFORE_START = {
    SessionStatus.EXPIRED: SessionExpiredBeforeStart,
    SessionStatus.CANCELLED: SessionCancelledBeforeStart,
}


class Session(SessionState):
    """One interview: the transitions of its state."""

    __slots__ = ()

    # Before the start

    def sync_with_code(self, cached: CachedCode, now: datetime) -> bool:
        """Applies the cached code to a PREPARED session; returns whether the session changed."""
        if self.status is not SessionStatus.PREPARED:
            return False
        before = self.status, self.access_code_id
        match cached.record.status:
            case CodeStatus.ACTIVE | CodeStatus.SUSPENDED:
                self.bind(cached.record.access_code_id)
            case CodeStatus.REVOKED:
                refunded = CancelReason.REFUNDED if cached.refunded else None
                self._cancel(refunded or CancelReason.ACCESS_CODE_REVOKED, now)
            case CodeStatus.EXPIRED:
                self._expire(now)
            case CodeStatus.REDEEMED:
                # Only a start redeems a code. A redeemed code starts no other session.
                pass
        return before != (self.status, self.access_code_id)

    def bind(self, access_code_id: str) -> None:
        """Sets the access code of the session, also in place of one that does not exist."""
        self.access_code_id = access_code_id

    def announce_prepared(self) -> None:
        """Records SessionPrepared."""
        self.events.append(
            SessionPrepared(
                session_id=self.session_id,
                order_id=self.order_id,
                access_code_id=self.access_code_id,
                product_id=self.product_id,
                occurred_at=self.prepared_at,
            )
        )

    def start(
        self,
        access_code: str,
        validated_by: ValidationSource,
        now: datetime,
        grace_period: timedelta,
    ) -> None:
        """Starts the interview. Its deadline is after the questions' time and the grace period.

        Raises SessionNotStartable unless PREPARED.
        """
        if self.status is not SessionStatus.PREPARED:
            ended = None if self.was_started else _ENDED_BEFORE_START.get(self.status)
            raise (ended or SessionNotStartable)(self.session_id, self.status)
        self.status, self.started_at = SessionStatus.IN_PROGRESS, now
        self.access_code, self.validated_by = access_code, validated_by
        self.deadline_at = now + self.question_set.time_limit + grace_period
        self._announce_start(now, "")

    # Replies to payment

    def confirm_started_for_refund(self, refund_id: str, now: datetime) -> None:
        """Records InterviewStarted in reply to a refund request; raises SessionNotStarted."""
        self._announce_start(now, refund_id)

    def reannounce_start(self, now: datetime) -> None:
        """Records InterviewStarted again, for consumers that lost it; raises SessionNotStarted."""
        self._announce_start(now, "")
        self.start_reannounced_at = now

    def _announce_start(self, now: datetime, refund_id: str) -> None:
        if self.started_at is None or self.validated_by is None or self.access_code is None:
            raise SessionNotStarted(self.session_id, self.status)
        self.events.append(
            InterviewStarted(
                session_id=self.session_id,
                access_code=self.access_code,
                order_id=self.order_id,
                access_code_id=self.access_code_id,
                started_at=self.started_at,
                validated_by=self.validated_by,
                occurred_at=now,
                refund_id=refund_id,
                interview_ended=self.interview_ended,
            )
        )

    def reject_use(self, now: datetime) -> None:
        """Applies payment's rejection of the start: cancels an IN_PROGRESS session.

        A session that has ended keeps its status and stores the rejection: unless the interview was
        completed, its start is reverted too. A session that was never started does not change.
        """
        if not self.was_started:
            return
        self.use_rejected = True
        if self.status is SessionStatus.IN_PROGRESS:
            self._cancel(CancelReason.USE_REJECTED, now)

    def cancel_orphaned(self, now: datetime) -> None:
        """Cancels a session whose order has no code in payment; raises SessionNotCancellable."""
        if not self.is_open:
            raise SessionNotCancellable(self.session_id, self.status)
        self._cancel(CancelReason.ACCESS_CODE_REVOKED, now)

    # In progress

    def ask(self, latest: QARecord | None, now: datetime) -> QARecord | None:
        """Returns the open question, or else asks the next one; None after the last question.

        `latest` is the question asked most recently, None if none was. Raises SessionNotInProgress.
        """
        deadline = self._check_in_progress(now, "asked for a question")
        if latest and latest.status_at(now) is QARecordStatus.OPEN:
            return latest
        number = latest.number + 1 if latest else 1
        if number > len(self.question_set.questions):
            return None
        question = self.question_set.questions[number - 1]
        answer_by = min(now + timedelta(seconds=question.time_limit_seconds), deadline)
        return QARecord(self.session_id, number, question.question_id, now, answer_by)

    def accept_answer(
        self, question_id: str, record: QARecord | None, answer: str, now: datetime
    ) -> QARecord:
        """Stores the answer in the question's record, which is None if it was not asked yet.

        Raises SessionNotInProgress, QuestionNotOpen, AnswerTooLate.
        """
        if self.status is not SessionStatus.IN_PROGRESS or self.deadline_at is None:
            raise SessionNotInProgress(self.session_id, self.status, "answered")
        if record is None:
            raise QuestionNotOpen(self.session_id, question_id, "not asked yet")
        record.accept_answer(answer, now, self.deadline_at)
        self.answered_count += 1
        return record

    def complete(self, now: datetime) -> None:
        """Completes the interview, possibly before its last question.

        Raises SessionNotInProgress.
        """
        self._check_in_progress(now, "completed")
        self.status, self.ended_at = SessionStatus.COMPLETED, now
        self.events.append(
            InterviewCompleted(
                session_id=self.session_id,
                order_id=self.order_id,
                answered_count=self.answered_count,
                question_count=len(self.question_set.questions),
                occurred_at=now,
            )
        )

    def cancel(self, now: datetime) -> None:
        """Cancels an IN_PROGRESS session on request; raises SessionNotInProgress."""
        self._check_in_progress(now, "cancelled")
        self._cancel(CancelReason.REQUESTED, now)

    def _check_in_progress(self, now: datetime, action: str) -> datetime:
        """Returns the deadline; raises SessionNotInProgress, also before the expiry worker runs."""
        if self.status is not SessionStatus.IN_PROGRESS or self.deadline_at is None:
            raise SessionNotInProgress(self.session_id, self.status, action)
        if now >= self.deadline_at:
            raise SessionNotInProgress(self.session_id, SessionStatus.EXPIRED, action)
        return self.deadline_at

    # The end

    def expire(self, now: datetime, code_expire_at: datetime | None = None) -> None:
        """Expires the session: IN_PROGRESS at its deadline, PREPARED at its code's `expire_at`.

        Raises SessionNotExpirable before that time and in every other state.
        """
        ends_at = {
            SessionStatus.PREPARED: code_expire_at,
            SessionStatus.IN_PROGRESS: self.deadline_at,
        }.get(self.status)
        if ends_at is None or now < ends_at:
            raise SessionNotExpirable(self.session_id, self.status)
        self._expire(now)

    def _expire(self, now: datetime) -> None:
        self.status, self.ended_at = SessionStatus.EXPIRED, now
        self.events.append(
            SessionExpired(
                session_id=self.session_id,
                order_id=self.order_id,
                was_started=self.was_started,
                occurred_at=now,
            )
        )

    def _cancel(self, reason: CancelReason, now: datetime) -> None:
        self.status, self.ended_at = SessionStatus.CANCELLED, now
        self.cancel_reason = reason
        self.events.append(
            SessionCancelled(
                session_id=self.session_id,
                order_id=self.order_id,
                cancel_reason=reason,
                was_started=self.was_started,
                customer_id=self.customer_id,
                recipient=self.recipient,
                product_id=self.product_id,
                occurred_at=now,
            )
        )

    def evaluate(self, feedback: Feedback) -> None:
        """Accepts feedback, once; raises SessionNotCompleted."""
        if self.status is not SessionStatus.COMPLETED:
            raise SessionNotCompleted(self.session_id, self.status)
        self.status = SessionStatus.EVALUATED
        self.events.append(
            FeedbackPublished(
                session_id=self.session_id,
                order_id=self.order_id,
                feedback_id=feedback.feedback_id,
                rating=feedback.assessment.rating,
                customer_id=self.customer_id,
                recipient=self.recipient,
                product_id=self.product_id,
                occurred_at=feedback.created_at,
            )
        )
