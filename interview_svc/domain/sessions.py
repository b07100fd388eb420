"""Session: one interview of one order.

    PREPARED → IN_PROGRESS → COMPLETED → EVALUATED
    PREPARED | IN_PROGRESS → EXPIRED | CANCELLED

Until it is started, a session is a function of its order's code entry; from then on the code
doesn't matter any more, but for payment's word that its use was no right.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from interview_svc.domain.cached_code import CachedCode, CodeStatus
from interview_svc.domain.events import (
    CancelReason,
    FeedbackPublished,
    InterviewCompleted,
    InterviewStarted,
    Recipient,
    SessionCancelled,
    SessionEvent,
    SessionExpired,
    SessionPrepared,
    ValidationSource,
)
from interview_svc.domain.feedback import Feedback
from interview_svc.domain.qa_records import AnswerTooLate, QARecord, QARecordStatus, QuestionNotOpen
from interview_svc.domain.questions import Question, QuestionSet
from interview_svc.domain.session_states import (
    SessionNotCallable,
    SessionNotCompleted,
    SessionNotEnded,
    SessionNotInProgress,
    SessionNotStarted,
    SessionStatus,
    not_startable,
)

_OPEN = (SessionStatus.PREPARED, SessionStatus.IN_PROGRESS)
_DONE = (SessionStatus.COMPLETED, SessionStatus.EVALUATED)


@dataclass(slots=True)
class Session:
    """One interview, with the questions it was prepared with."""

    session_id: str
    order_id: str
    customer_id: str
    recipient: Recipient
    product_id: str
    access_code_id: str
    question_set: QuestionSet
    prepared_at: datetime
    status: SessionStatus = SessionStatus.PREPARED
    # What it was started with; the rest of its life doesn't change it.
    access_code: str | None = None
    started_at: datetime | None = None
    validated_by: ValidationSource | None = None
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_reason: CancelReason | None = None
    answered_count: int = 0
    # payment found out that the code which started it gave no right to it.
    use_rejected: bool = False
    announced_again_at: datetime | None = None
    events: list[SessionEvent] = field(default_factory=list, compare=False)

    @property
    def was_started(self) -> bool:
        """Whether the interview has begun, whatever became of it."""
        return self.started_at is not None

    @property
    def is_open(self) -> bool:
        """Whether the interview is yet to be done."""
        return self.status in _OPEN

    @property
    def start_reverted(self) -> bool:
        """Whether its start was undone: the customer had no interview, and won't."""
        return self.cancel_reason is CancelReason.USE_REJECTED

    @property
    def used_without_right(self) -> bool:
        """Whether an interview was completed that payment judged to be without right."""
        return self.use_rejected and self.status in _DONE

    # Before the start

    def sync_with_code(self, entry: CachedCode, now: datetime) -> bool:
        """Makes a PREPARED session what its code's entry implies; False if that changes nothing."""
        if self.status is not SessionStatus.PREPARED:
            return False
        before = self.status, self.access_code_id
        match entry.record.status:
            case CodeStatus.ACTIVE | CodeStatus.SUSPENDED:
                self.bind(entry.record.access_code_id)
            case CodeStatus.REVOKED:
                refunded = CancelReason.REFUNDED if entry.refunded else None
                self._cancel(refunded or CancelReason.ACCESS_CODE_REVOKED, now)
            case CodeStatus.EXPIRED:
                self._expire(now)
            case CodeStatus.REDEEMED:
                # Only a start redeems a code. Whoever redeemed it, it starts nothing more.
                pass
        return before != (self.status, self.access_code_id)

    def announce_prepared(self) -> None:
        """Says that the session waits for its code."""
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
        """Starts the interview; it ends after its questions' time and the grace period.

        Raises SessionNotStartable unless PREPARED.
        """
        if self.status is not SessionStatus.PREPARED:
            raise not_startable(self.session_id, self.status, was_started=self.was_started)
        self.status, self.started_at = SessionStatus.IN_PROGRESS, now
        self.access_code, self.validated_by = access_code, validated_by
        self.deadline_at = now + self.question_set.time_limit + grace_period
        self._announce_start(now, "")

    # The refund saga's questions, and what payment judges afterwards

    def confirm_started_for_refund(self, refund_id: str, now: datetime) -> None:
        """Tells a refund that asks that the interview has started; raises SessionNotStarted."""
        self._announce_start(now, refund_id)

    def announce_start_again(self, now: datetime) -> None:
        """Says again that it has started, for those who lost it; raises SessionNotStarted."""
        self._announce_start(now, "")
        self.announced_again_at = now

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
            )
        )

    def reject_use(self, now: datetime) -> None:
        """The start was without right, as payment judged: a running interview is called off.

        One that is over stays so, and says so; one that never started has nothing to undo.
        """
        if not self.was_started:
            return
        self.use_rejected = True
        if self.status is SessionStatus.IN_PROGRESS:
            self._cancel(CancelReason.USE_REJECTED, now)

    def bind(self, access_code_id: str) -> None:
        """Names the order's code, in place of one that doesn't exist."""
        self.access_code_id = access_code_id

    def cancel_orphaned(self, now: datetime) -> None:
        """Ends it since payment knows no code for it; raises SessionNotCallable if it is over."""
        if not self.is_open:
            raise SessionNotCallable(self.session_id, self.status)
        self._cancel(CancelReason.ACCESS_CODE_REVOKED, now)

    # While it runs

    def ask(self, last: QARecord | None, now: datetime) -> QARecord | None:
        """The open question, or else the next, or None after all; `last` is the latest one asked.

        Raises SessionNotInProgress.
        """
        deadline = self._check_running(now, "asked for a question")
        if last and last.status_at(now) is QARecordStatus.OPEN:
            return last
        number = last.number + 1 if last else 1
        if number > len(self.question_set.questions):
            return None
        question = self.question_set.questions[number - 1]
        answer_by = min(now + timedelta(seconds=question.time_limit_seconds), deadline)
        return QARecord(self.session_id, number, question.question_id, now, answer_by)

    def take_answer(
        self, question_id: str, record: QARecord | None, answer: str, now: datetime
    ) -> QARecord:
        """The question's record with its answer; `record` is None if it wasn't asked yet.

        Raises SessionNotInProgress, QuestionNotOpen, AnswerTooLate.
        """
        if self.status is not SessionStatus.IN_PROGRESS or self.deadline_at is None:
            raise SessionNotInProgress(self.session_id, self.status, "answered")
        if record is None or record.answered_at is not None:
            asked = record.status_at(now) if record else None
            raise QuestionNotOpen(self.session_id, self.status, question_id, asked)
        if now >= (answer_by := min(record.answer_by, self.deadline_at)):
            raise AnswerTooLate(self.session_id, self.status, question_id, answer_by)
        record.answer, record.answered_at = answer, now
        self.answered_count += 1
        return record

    def complete(self, now: datetime) -> None:
        """The interview is done, also early; raises SessionNotInProgress."""
        self._check_running(now, "completed")
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
        """Somebody calls the running interview off; raises SessionNotInProgress."""
        self._check_running(now, "cancelled")
        self._cancel(CancelReason.REQUESTED, now)

    def _check_running(self, now: datetime, step: str) -> datetime:
        """Its deadline; raises SessionNotInProgress, also if the sweeper is late."""
        if self.status is not SessionStatus.IN_PROGRESS or self.deadline_at is None:
            raise SessionNotInProgress(self.session_id, self.status, step)
        if now >= self.deadline_at:
            raise SessionNotInProgress(self.session_id, SessionStatus.EXPIRED, step)
        return self.deadline_at

    # Its end

    def expire(self, now: datetime, expire_at: datetime | None = None) -> None:
        """The clock ends it: at its deadline or, if it wasn't started, at its code's `expire_at`.

        Raises SessionNotEnded if the time isn't over or the session is.
        """
        ends_at = {
            SessionStatus.PREPARED: expire_at,
            SessionStatus.IN_PROGRESS: self.deadline_at,
        }.get(self.status)
        if ends_at is None or now < ends_at:
            raise SessionNotEnded(self.session_id, self.status)
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

    def check_completed(self) -> None:
        """Raises SessionNotCompleted unless it waits for feedback."""
        if self.status is not SessionStatus.COMPLETED:
            raise SessionNotCompleted(self.session_id, self.status)

    def evaluate(self, feedback: Feedback) -> None:
        """Feedback was given; raises SessionNotCompleted."""
        self.check_completed()
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

    def question(self, record: QARecord) -> Question:
        """The question that a record is about."""
        return self.question_set.questions[record.number - 1]
