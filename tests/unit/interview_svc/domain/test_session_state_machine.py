"""Arbitrary actions on a session and its questions, compared with a model of the diagram."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from interview_svc.domain.cached_code import CachedCode, CodeStatus
from interview_svc.domain.errors import (
    AnswerTooLate,
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
    FeedbackPublished,
    InterviewCompleted,
    InterviewStarted,
    SessionCancelled,
    SessionExpired,
    SessionPrepared,
    ValidationSource,
)
from interview_svc.domain.feedback import Assessment, Feedback
from interview_svc.domain.qa_records import QARecord
from tests.builders.interview import NOW, QUESTION_SET, code_record, prepared_session
from tests.unit.state_machines import (
    SESSION,
    STATE_MACHINE_SETTINGS,
    assert_refused,
    assert_unchanged,
    final_states,
    is_allowed,
    take_all,
)

MINUTE, GRACE_PERIOD = timedelta(minutes=1), timedelta(seconds=10)
DURATION = QUESTION_SET.time_limit + GRACE_PERIOD
SECONDS = [0, 30, 60, 130, 86400]

moments = st.sampled_from([NOW + timedelta(seconds=seconds) for seconds in SECONDS])
codes = st.sampled_from(["acc_1_1", "acc_1_2"])
answers = st.text(max_size=3)


class SessionStateMachine(RuleBasedStateMachine):
    """One session: every action at any time, repeatedly, by clocks that differ."""

    @initialize(steps=st.integers(0, 5), last_at=moments)
    def prepare(self, steps: int, last_at: datetime) -> None:
        """Takes the first steps of the usual life, each twice, the last of them at any time."""
        self.session = prepared_session()
        self.status, self.code, self.reason = "PREPARED", "acc_1_1", ""
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.records: list[QARecord] = []
        self.events: list[Any] = []
        self.rejected = False
        self.session.announce_prepared()
        self._records(SessionPrepared, NOW)
        usual: list[Callable[[datetime], None]] = [
            lambda now: self.start("acc_1_1", ValidationSource.PAYMENT, now),
            self.ask,
            lambda now: self.accept_answer(1, "so", now),
            self.complete,
            lambda now: self.evaluate(5, now),
        ]
        for number, step in enumerate(usual[:steps], 1):
            step(last_at if number == steps else NOW)
            step(NOW)

    # Before the start

    @rule(status=st.sampled_from(CodeStatus), code=codes, refunded=st.booleans(), now=moments)
    def sync_with_code(
        self, status: CodeStatus, code: str, now: datetime, *, refunded: bool
    ) -> None:
        """A PREPARED session follows its cached code, every other session ignores it."""
        record = code_record(1, status, access_code_id=code)
        cached = CachedCode(record, refunded=refunded)

        def sync() -> bool:
            return self.session.sync_with_code(cached, now)

        if self.status != "PREPARED" or status == "REDEEMED":
            assert assert_unchanged(sync, self.session, cached) is False
        elif status in {"ACTIVE", "SUSPENDED"}:
            assert sync() == (self.code != code)
            self.code = code
        elif status == "REVOKED":
            assert sync()
            self._is_cancelled("REFUNDED" if refunded else "ACCESS_CODE_REVOKED", now)
        else:
            assert sync()
            self._ends("EXPIRED", SessionExpired, now)

    @rule(code=codes, source=st.sampled_from(ValidationSource), now=moments)
    def start(self, code: str, source: ValidationSource, now: datetime) -> None:
        """Once; the error tells how a session ended before its start."""

        def action() -> None:
            self.session.start(code, source, now, GRACE_PERIOD)

        if self.status != "PREPARED":
            ended = {"EXPIRED": SessionExpiredBeforeStart, "CANCELLED": SessionCancelledBeforeStart}
            unstarted = ended.get(self.status) if self.started_at is None else None
            self._rejects(unstarted or SessionNotStartable, action)
            return
        action()
        self._moves("IN_PROGRESS")
        self.started_at = now
        assert (self.session.access_code, self.session.validated_by) == (code, source)
        assert self.session.deadline_at == now + DURATION
        assert self._records(InterviewStarted, now).refund_id == ""

    # Replies to payment

    @rule(refund_id=st.sampled_from(["ref_1", "ref_2", ""]), now=moments)
    def announce_start(self, refund_id: str, now: datetime) -> None:
        """In every later state, with the same content; the state does not change."""

        def announce() -> None:
            if refund_id:
                self.session.confirm_started_for_refund(refund_id, now)
            else:
                self.session.reannounce_start(now)

        if self.started_at is None:
            self._rejects(SessionNotStarted, announce)
            return
        announce()
        again = self._records(InterviewStarted, now)
        assert (again.refund_id, again.started_at) == (refund_id, self.started_at)
        assert (again.access_code, again.access_code_id) == (self.session.access_code, self.code)

    @rule(now=moments)
    def reject_use(self, now: datetime) -> None:
        """Cancels a session in progress; an ended one only stores the rejection."""
        if self.started_at is None:
            assert_unchanged(lambda: self.session.reject_use(now), self.session)
            return
        self.rejected = True
        self.session.reject_use(now)
        if self.status == "IN_PROGRESS":
            self._is_cancelled("USE_REJECTED", now)

    @rule(now=moments)
    def cancel_orphaned(self, now: datetime) -> None:
        """Cancels a session that has not ended."""
        if self.status in {"PREPARED", "IN_PROGRESS"}:
            self.session.cancel_orphaned(now)
            self._is_cancelled("ACCESS_CODE_REVOKED", now)
        else:
            self._rejects(SessionNotCancellable, lambda: self.session.cancel_orphaned(now))

    @rule(code=codes)
    def bind(self, code: str) -> None:
        """Changes the code and nothing else."""
        self.session.bind(code)
        self.code = code

    # In progress

    def _is_in_progress(self, now: datetime) -> bool:
        in_time = self.started_at is not None and now < self.started_at + DURATION
        return self.status == "IN_PROGRESS" and in_time

    @rule(now=moments)
    def ask(self, now: datetime) -> None:
        """The open question, else the next of the set, none after the last."""
        latest = self.records[-1] if self.records else None

        def action() -> QARecord | None:
            return self.session.ask(latest, now)

        if not self._is_in_progress(now):
            self._rejects(SessionNotInProgress, action)
            return
        asked = assert_unchanged(action, self.session, *self.records)
        if latest and latest.answered_at is None and now < latest.answer_by:
            assert asked is latest
        elif len(self.records) == len(QUESTION_SET.questions):
            assert asked is None
        else:
            assert asked is not None
            assert self.started_at is not None
            self.records.append(asked)
            number = len(self.records)
            assert (asked.number, asked.question_id) == (number, f"q{number}")
            assert asked.answer_by == min(now + MINUTE, self.started_at + DURATION)

    @rule(number=st.integers(1, 3), answer=answers, now=moments)
    def accept_answer(self, number: int, answer: str, now: datetime) -> None:
        """Of an asked question, once, strictly in time."""
        record = self.records[number - 1] if number <= len(self.records) else None

        def accept() -> QARecord:
            return self.session.accept_answer(f"q{number}", record, answer, now)

        if self.status != "IN_PROGRESS":
            self._rejects(SessionNotInProgress, accept)
        elif record is None or record.answered_at is not None:
            self._rejects(QuestionNotOpen, accept)
        elif now >= record.answer_by:
            self._rejects(AnswerTooLate, accept)
        else:
            assert accept() is record
            assert (record.answer, record.answered_at) == (answer, now)

    @rule(now=moments)
    def complete(self, now: datetime) -> None:
        """Also early, but not after the deadline, even before the session is expired."""
        if not self._is_in_progress(now):
            self._rejects(SessionNotInProgress, lambda: self.session.complete(now))
            return
        self.session.complete(now)
        completed = self._ends("COMPLETED", InterviewCompleted, now)
        assert (completed.answered_count, completed.question_count) == (self._answered(), 2)

    @rule(now=moments)
    def cancel(self, now: datetime) -> None:
        """While it is in progress."""
        if self._is_in_progress(now):
            self.session.cancel(now)
            self._is_cancelled("REQUESTED", now)
        else:
            self._rejects(SessionNotInProgress, lambda: self.session.cancel(now))

    # The end

    @rule(expire_at=st.none() | moments, now=moments)
    def expire(self, expire_at: datetime | None, now: datetime) -> None:
        """At its deadline or, before its start, at its code's `expire_at`."""
        ends = {
            "PREPARED": expire_at,
            "IN_PROGRESS": self.started_at and self.started_at + DURATION,
        }
        ends_at = ends.get(self.status)
        if ends_at is None or now < ends_at:
            self._rejects(SessionNotExpirable, lambda: self.session.expire(now, expire_at))
        else:
            self.session.expire(now, expire_at)
            self._ends("EXPIRED", SessionExpired, now)

    @rule(rating=st.integers(1, 5), now=moments)
    def evaluate(self, rating: int, now: datetime) -> None:
        """Once, after the completion."""
        feedback = Feedback("fbk_1", "ses_1", Assessment(rating, "", []), "jo", now)
        if self.status != "COMPLETED":
            self._rejects(SessionNotCompleted, lambda: self.session.evaluate(feedback))
            return
        self.session.evaluate(feedback)
        self._moves("EVALUATED")
        assert self._records(FeedbackPublished, now).rating == rating

    # The expected effect of an action

    def _rejects(self, error: type[Exception], action: Callable[[], object]) -> None:
        assert_refused(error, "ses_1", action, self.session, *self.records)

    def _moves(self, status: str) -> None:
        assert is_allowed(SESSION, self.status, status)
        assert self.status not in final_states(SESSION)
        self.status = status

    def _ends(self, status: str, event_type: type[object], now: datetime) -> Any:
        self._moves(status)
        self.ended_at = now
        return self._records(event_type, now)

    def _is_cancelled(self, reason: str, now: datetime) -> None:
        self.reason = reason
        cancelled = self._ends("CANCELLED", SessionCancelled, now)
        assert cancelled.cancel_reason == reason
        assert cancelled.was_started == (self.started_at is not None)

    def _records(self, event_type: type[object], now: datetime) -> Any:
        [event] = take_all(self.session.events)
        assert type(event) is event_type
        assert (event.session_id, event.order_id, event.occurred_at) == ("ses_1", "ord_1", now)
        self.events.append(event)
        return event

    def _answered(self) -> int:
        return sum(record.answered_at is not None for record in self.records)

    @invariant()
    def it_equals_the_model(self) -> None:
        """And no event was recorded that no rule expects."""
        session = self.session
        assert (session.status, session.access_code_id) == (self.status, self.code)
        assert (session.cancel_reason or "") == self.reason
        assert (session.started_at, session.ended_at) == (self.started_at, self.ended_at)
        assert session.answered_count == self._answered()
        assert session.events == []

    @invariant()
    def it_is_consistent(self) -> None:
        """Its questions are in sequence, its times and reasons fit its status."""
        session = self.session
        assert [record.number for record in self.records] == [1, 2][: len(self.records)]
        assert session.was_started == bool(session.access_code) == bool(session.deadline_at)
        assert session.is_open == (session.ended_at is None)
        assert (session.cancel_reason is not None) == (session.status == "CANCELLED")
        without_right = self.rejected and self.status in {"COMPLETED", "EVALUATED"}
        assert assert_unchanged(lambda: session.used_without_right, session) == without_right

    @invariant()
    def each_stage_is_recorded_once(self) -> None:
        """Only InterviewStarted is repeated, with the same content."""
        types = [type(event) for event in self.events if not isinstance(event, InterviewStarted)]
        assert len(types) == len(set(types))
        starts = {
            (event.access_code, event.started_at, event.validated_by)
            for event in self.events
            if isinstance(event, InterviewStarted)
        }
        assert len(starts) == (self.started_at is not None)


TestSessionStateMachine = SessionStateMachine.TestCase
TestSessionStateMachine.settings = STATE_MACHINE_SETTINGS
