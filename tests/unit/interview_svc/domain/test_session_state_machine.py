"""Whatever happens to a session and its questions: the diagram, and one answer to each in time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from interview_svc.domain.cached_code import CachedCode, CodeRecord, CodeStatus
from interview_svc.domain.events import (
    FeedbackPublished,
    InterviewCompleted,
    InterviewStarted,
    Recipient,
    SessionCancelled,
    SessionExpired,
    SessionPrepared,
    ValidationSource,
)
from interview_svc.domain.feedback import Assessment, Feedback
from interview_svc.domain.qa_records import AnswerTooLate, QARecord, QuestionNotOpen
from interview_svc.domain.questions import Question, QuestionSet
from interview_svc.domain.session_states import (
    SessionCalledOff,
    SessionLapsed,
    SessionNotCallable,
    SessionNotCompleted,
    SessionNotEnded,
    SessionNotInProgress,
    SessionNotStartable,
    SessionNotStarted,
)
from interview_svc.domain.sessions import Session
from tests.unit.state_machines import (
    SESSION,
    STATE_MACHINE_SETTINGS,
    assert_refused,
    assert_unchanged,
    final_states,
    is_allowed,
    take_all,
)

NOW = datetime.fromisoformat("2026-01-02T12:00:00+00:00")
MINUTE, GRACE_PERIOD = timedelta(minutes=1), timedelta(seconds=10)
QUESTIONS = QuestionSet("set", 1, "en", [Question("q1", "One?", 60), Question("q2", "Two?", 60)])
LASTS = 2 * MINUTE + GRACE_PERIOD
SECONDS = [0, 30, 60, 130, 86400]
ADA = Recipient("ada@example.org", "Ada", "en")

moments = st.sampled_from([NOW + timedelta(seconds=seconds) for seconds in SECONDS])
codes = st.sampled_from(["acc_1", "acc_2"])
answers = st.text(max_size=3)


class LivesOfSessions(RuleBasedStateMachine):
    """One session: every verb at any time, again and again, by clocks that disagree."""

    @initialize(steps=st.integers(0, 5), last=moments)
    def is_prepared(self, steps: int, last: datetime) -> None:
        """It waits for its code; or has gone on, each step repeated, the last at any time."""
        self.session = Session(
            "ses_1", "ord_1", "cus_1", ADA, "backend-60", "acc_1", QUESTIONS, NOW
        )
        self.status, self.code, self.reason = "PREPARED", "acc_1", ""
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.records: list[QARecord] = []
        self.told: list[Any] = []
        self.rejected = False
        self.session.announce_prepared()
        self._said(SessionPrepared, NOW)
        usual: list[Callable[[datetime], None]] = [
            lambda now: self.is_started("acc_1", ValidationSource.PAYMENT, now),
            self.the_next_question_is_asked,
            lambda now: self.is_answered(1, "so", now),
            self.is_completed,
            lambda now: self.is_evaluated(5, now),
        ]
        for number, step in enumerate(usual[:steps], 1):
            step(last if number == steps else NOW)
            step(NOW)

    # Before the start

    @rule(status=st.sampled_from(CodeStatus), code=codes, refunded=st.booleans(), now=moments)
    def its_code_is_heard_of(
        self, status: CodeStatus, code: str, now: datetime, *, refunded: bool
    ) -> None:
        """Until it is started, it is what the code's entry implies; later that doesn't matter."""
        record = CodeRecord("ord_1", code, "c", status, NOW + LASTS, 1, "backend-60")
        entry = CachedCode(record, refunded=refunded)

        def follow() -> bool:
            return self.session.sync_with_code(entry, now)

        if self.status != "PREPARED" or status == "REDEEMED":
            assert assert_unchanged(follow, self.session, entry) is False
        elif status in {"ACTIVE", "SUSPENDED"}:
            assert follow() == (self.code != code)
            self.code = code
        elif status == "REVOKED":
            assert follow()
            self._is_called_off("REFUNDED" if refunded else "ACCESS_CODE_REVOKED", now)
        else:
            assert follow()
            self._ends("EXPIRED", SessionExpired, now)

    @rule(code=codes, source=st.sampled_from(ValidationSource), now=moments)
    def is_started(self, code: str, source: ValidationSource, now: datetime) -> None:
        """Once; one that ended before says how."""

        def start() -> None:
            self.session.start(code, source, now, GRACE_PERIOD)

        if self.status != "PREPARED":
            ended = {"EXPIRED": SessionLapsed, "CANCELLED": SessionCalledOff}
            unstarted = ended.get(self.status) if self.started_at is None else None
            self._refuses(unstarted or SessionNotStartable, start)
            return
        start()
        self._moves("IN_PROGRESS")
        self.started_at = now
        assert (self.session.access_code, self.session.validated_by) == (code, source)
        assert self.session.deadline_at == now + LASTS
        assert self._said(InterviewStarted, now).refund_id == ""

    # What payment wants to know of it, and says

    @rule(refund=st.sampled_from(["ref_1", "ref_2", ""]), now=moments)
    def says_that_it_has_started(self, refund: str, now: datetime) -> None:
        """In whatever later state, always the same; changes nothing."""

        def say() -> None:
            self.session.confirm_started_for_refund(
                refund, now
            ) if refund else self.session.announce_start_again(now)

        if self.started_at is None:
            self._refuses(SessionNotStarted, say)
            return
        say()
        again = self._said(InterviewStarted, now)
        assert (again.refund_id, again.started_at) == (refund, self.started_at)
        assert (again.access_code, again.access_code_id) == (self.session.access_code, self.code)

    @rule(now=moments)
    def its_use_is_rejected(self, now: datetime) -> None:
        """A running one is called off, one that is over only says so."""
        if self.started_at is None:
            assert_unchanged(lambda: self.session.reject_use(now), self.session)
            return
        self.rejected = True
        self.session.reject_use(now)
        if self.status == "IN_PROGRESS":
            self._is_called_off("USE_REJECTED", now)

    @rule(now=moments)
    def payment_knows_no_code_for_it(self, now: datetime) -> None:
        """It is called off, unless it is over."""
        if self.status in {"PREPARED", "IN_PROGRESS"}:
            self.session.cancel_orphaned(now)
            self._is_called_off("ACCESS_CODE_REVOKED", now)
        else:
            self._refuses(SessionNotCallable, lambda: self.session.cancel_orphaned(now))

    @rule(code=codes)
    def is_bound(self, code: str) -> None:
        """It names its code, and nothing else changes."""
        self.session.bind(code)
        self.code = code

    # While it runs

    def _runs(self, now: datetime) -> bool:
        in_time = self.started_at is not None and now < self.started_at + LASTS
        return self.status == "IN_PROGRESS" and in_time

    @rule(now=moments)
    def the_next_question_is_asked(self, now: datetime) -> None:
        """The open one, else the next of the set, and none after the last."""
        last = self.records[-1] if self.records else None

        def ask() -> QARecord | None:
            return self.session.ask(last, now)

        if not self._runs(now):
            self._refuses(SessionNotInProgress, ask)
            return
        asked = assert_unchanged(ask, self.session, *self.records)
        if last and last.answered_at is None and now < last.answer_by:
            assert asked is last
        elif len(self.records) == len(QUESTIONS.questions):
            assert asked is None
        else:
            assert asked is not None
            assert self.started_at is not None
            self.records.append(asked)
            number = len(self.records)
            assert (asked.number, asked.question_id) == (number, f"q{number}")
            assert asked.answer_by == min(now + MINUTE, self.started_at + LASTS)

    @rule(number=st.integers(1, 3), answer=answers, now=moments)
    def is_answered(self, number: int, answer: str, now: datetime) -> None:
        """What was asked, once, strictly in time."""
        record = self.records[number - 1] if number <= len(self.records) else None

        def take() -> QARecord:
            return self.session.take_answer(f"q{number}", record, answer, now)

        if self.status != "IN_PROGRESS":
            self._refuses(SessionNotInProgress, take)
        elif record is None or record.answered_at is not None:
            self._refuses(QuestionNotOpen, take)
        elif now >= record.answer_by:
            self._refuses(AnswerTooLate, take)
        else:
            assert take() is record
            assert (record.answer, record.answered_at) == (answer, now)

    @rule(now=moments)
    def is_completed(self, now: datetime) -> None:
        """Also early, but not after its time, however late the sweeper is."""
        if not self._runs(now):
            self._refuses(SessionNotInProgress, lambda: self.session.complete(now))
            return
        self.session.complete(now)
        completed = self._ends("COMPLETED", InterviewCompleted, now)
        assert (completed.answered_count, completed.question_count) == (self._answered(), 2)

    @rule(now=moments)
    def is_cancelled(self, now: datetime) -> None:
        """While it runs."""
        if self._runs(now):
            self.session.cancel(now)
            self._is_called_off("REQUESTED", now)
        else:
            self._refuses(SessionNotInProgress, lambda: self.session.cancel(now))

    # Its end

    @rule(expire_at=st.none() | moments, now=moments)
    def runs_out(self, expire_at: datetime | None, now: datetime) -> None:
        """By its deadline or, if it wasn't started, by its code's time."""
        ends = {
            "PREPARED": expire_at,
            "IN_PROGRESS": self.started_at and self.started_at + LASTS,
        }
        ends_at = ends.get(self.status)
        if ends_at is None or now < ends_at:
            self._refuses(SessionNotEnded, lambda: self.session.expire(now, expire_at))
        else:
            self.session.expire(now, expire_at)
            self._ends("EXPIRED", SessionExpired, now)

    @rule(rating=st.integers(1, 5), now=moments)
    def is_evaluated(self, rating: int, now: datetime) -> None:
        """Once, after it was completed."""
        feedback = Feedback("fbk_1", "ses_1", Assessment(rating, "", []), "jo", now)
        if self.status != "COMPLETED":
            self._refuses(SessionNotCompleted, self.session.check_completed)
            self._refuses(SessionNotCompleted, lambda: self.session.evaluate(feedback))
            return
        assert_unchanged(self.session.check_completed, self.session)
        self.session.evaluate(feedback)
        self._moves("EVALUATED")
        assert self._said(FeedbackPublished, now).rating == rating

    # What a step did

    def _refuses(self, error: type[Exception], step: Callable[[], object]) -> None:
        assert_refused(error, "ses_1", step, self.session, *self.records)

    def _moves(self, to: str) -> None:
        assert is_allowed(SESSION, self.status, to)
        assert self.status not in final_states(SESSION)
        self.status = to

    def _ends(self, to: str, kind: type[object], now: datetime) -> Any:
        self._moves(to)
        self.ended_at = now
        return self._said(kind, now)

    def _is_called_off(self, reason: str, now: datetime) -> None:
        self.reason = reason
        cancelled = self._ends("CANCELLED", SessionCancelled, now)
        assert cancelled.cancel_reason == reason
        assert cancelled.was_started == (self.started_at is not None)

    def _said(self, kind: type[object], now: datetime) -> Any:
        [told] = take_all(self.session.events)
        assert type(told) is kind
        assert (told.session_id, told.order_id, told.occurred_at) == ("ses_1", "ord_1", now)
        self.told.append(told)
        return told

    def _answered(self) -> int:
        return sum(record.answered_at is not None for record in self.records)

    @invariant()
    def it_is_what_the_model_says(self) -> None:
        """And nothing was said unseen."""
        session = self.session
        assert (session.status, session.access_code_id) == (self.status, self.code)
        assert (session.cancel_reason or "") == self.reason
        assert (session.started_at, session.ended_at) == (self.started_at, self.ended_at)
        assert session.answered_count == self._answered()
        assert session.events == []

    @invariant()
    def it_is_consistent(self) -> None:
        """Its questions follow each other, its times and reasons belong to its state."""
        session = self.session
        assert [record.number for record in self.records] == [1, 2][: len(self.records)]
        assert session.was_started == bool(session.access_code) == bool(session.deadline_at)
        assert session.is_open == (session.ended_at is None)
        assert (session.cancel_reason is not None) == (session.status == "CANCELLED")
        wrong = self.rejected and self.status in {"COMPLETED", "EVALUATED"}
        assert assert_unchanged(lambda: session.used_without_right, session) == wrong

    @invariant()
    def its_end_is_said_once(self) -> None:
        """And so is every stage that it reached."""
        kinds = [type(event) for event in self.told if not isinstance(event, InterviewStarted)]
        assert len(kinds) == len(set(kinds))
        starts = {
            (event.access_code, event.started_at, event.validated_by)
            for event in self.told
            if isinstance(event, InterviewStarted)
        }
        assert len(starts) == (self.started_at is not None)


TestLivesOfSessions = LivesOfSessions.TestCase
TestLivesOfSessions.settings = STATE_MACHINE_SETTINGS
