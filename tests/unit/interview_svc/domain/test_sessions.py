"""Session and QARecord: the transitions in every state, and the events that they record."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from interview_svc.domain.cached_code import CachedCode, CodeStatus
from interview_svc.domain.errors import (
    AnswerTooLate,
    IllegalTransition,
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
from interview_svc.domain.feedback import Assessment, Feedback
from interview_svc.domain.qa_records import QARecord, QARecordStatus
from interview_svc.domain.questions import Question, QuestionSet
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session
from tests.builders.interview import (
    GRACE_PERIOD,
    LATER,
    NOW,
    PRODUCT_ID,
    RECIPIENT,
    code_record,
    open_question,
    prepared_session,
)

INSTANT = timedelta(microseconds=1)
CODE = "7ZK4-0PQX-M2A9-E5TB"
QUESTIONS = QuestionSet(
    PRODUCT_ID, 1, "en", (Question("q1", "Why?", 60), Question("q2", "How?", 120))
)
DEADLINE = NOW + timedelta(minutes=3) + GRACE_PERIOD
FEEDBACK = Feedback("fbk_1", "ses_1", Assessment(4, "Good.", ()), "operator:mei", LATER)
STARTED = set(SessionStatus) - {SessionStatus.PREPARED}


def session_in(status: SessionStatus) -> Session:
    """A session in a status, started at NOW unless it is PREPARED."""
    session = prepared_session(QUESTIONS)
    if status is not SessionStatus.PREPARED:
        session.start(CODE, ValidationSource.PAYMENT, NOW, GRACE_PERIOD)
    session.events.clear()
    session.status = status
    return session


def cached_code(status: CodeStatus) -> CachedCode:
    """Another code than the session is bound to."""
    return CachedCode(code_record(2, status, code=2))


# Every action in every status

Action = Callable[[Session], object]
ACTIONS: dict[str, tuple[Action, dict[SessionStatus, SessionStatus], type[Exception]]] = {
    "start": (
        lambda session: session.start(CODE, ValidationSource.PAYMENT, LATER, GRACE_PERIOD),
        {SessionStatus.PREPARED: SessionStatus.IN_PROGRESS},
        SessionNotStartable,
    ),
    "ask": (
        lambda session: session.ask(None, LATER),
        {SessionStatus.IN_PROGRESS: SessionStatus.IN_PROGRESS},
        SessionNotInProgress,
    ),
    "accept_answer": (
        lambda session: session.accept_answer("q1", open_question(), "Because.", NOW),
        {SessionStatus.IN_PROGRESS: SessionStatus.IN_PROGRESS},
        SessionNotInProgress,
    ),
    "complete": (
        lambda session: session.complete(LATER),
        {SessionStatus.IN_PROGRESS: SessionStatus.COMPLETED},
        SessionNotInProgress,
    ),
    "cancel": (
        lambda session: session.cancel(LATER),
        {SessionStatus.IN_PROGRESS: SessionStatus.CANCELLED},
        SessionNotInProgress,
    ),
    "evaluate": (
        lambda session: session.evaluate(FEEDBACK),
        {SessionStatus.COMPLETED: SessionStatus.EVALUATED},
        SessionNotCompleted,
    ),
    "expire": (
        lambda session: session.expire(DEADLINE, DEADLINE),
        {
            SessionStatus.PREPARED: SessionStatus.EXPIRED,
            SessionStatus.IN_PROGRESS: SessionStatus.EXPIRED,
        },
        SessionNotExpirable,
    ),
    "cancel_orphaned": (
        lambda session: session.cancel_orphaned(LATER),
        {
            SessionStatus.PREPARED: SessionStatus.CANCELLED,
            SessionStatus.IN_PROGRESS: SessionStatus.CANCELLED,
        },
        SessionNotCancellable,
    ),
    "confirm_started_for_refund": (
        lambda session: session.confirm_started_for_refund("ref_1", LATER),
        {status: status for status in STARTED},
        SessionNotStarted,
    ),
    "reannounce_start": (
        lambda session: session.reannounce_start(LATER),
        {status: status for status in STARTED},
        SessionNotStarted,
    ),
}


@pytest.mark.parametrize("status", SessionStatus)
@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_is_a_transition_of_the_diagram_or_is_rejected(
    name: str, status: SessionStatus
) -> None:
    """A rejected action names the session and its status, and changes and records nothing."""
    action, transitions, error = ACTIONS[name]
    session, before = session_in(status), session_in(status)
    if after := transitions.get(status):
        action(session)
        assert session.status is after
    else:
        with pytest.raises(error, match=f"session ses_1 cannot be .*: it is {status}$") as caught:
            action(session)
        assert isinstance(caught.value, IllegalTransition)
        assert caught.value.subject == "ses_1"
        assert (session, session.events) == (before, [])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (SessionStatus.EXPIRED, SessionExpiredBeforeStart),
        (SessionStatus.CANCELLED, SessionCancelledBeforeStart),
    ],
)
def test_the_error_of_a_start_tells_how_the_session_ended_before_its_start(
    status: SessionStatus, error: type[Exception]
) -> None:
    session = prepared_session(QUESTIONS)
    session.status = status
    with pytest.raises(error):
        session.start(CODE, ValidationSource.PAYMENT, LATER, GRACE_PERIOD)


FOLLOWS = {
    CodeStatus.ACTIVE: SessionStatus.PREPARED,
    CodeStatus.SUSPENDED: SessionStatus.PREPARED,
    CodeStatus.REDEEMED: SessionStatus.PREPARED,
    CodeStatus.REVOKED: SessionStatus.CANCELLED,
    CodeStatus.EXPIRED: SessionStatus.EXPIRED,
}


@pytest.mark.parametrize("status", SessionStatus)
@pytest.mark.parametrize("code", CodeStatus)
def test_only_a_prepared_session_follows_its_code(code: CodeStatus, status: SessionStatus) -> None:
    session = session_in(status)
    changed = session.sync_with_code(cached_code(code), LATER)
    if status is SessionStatus.PREPARED:
        bound = code in {CodeStatus.ACTIVE, CodeStatus.SUSPENDED}
        assert session.status is FOLLOWS[code]
        assert session.access_code_id == ("acc_1_2" if bound else "acc_1_1")
        assert changed is (bound or session.status is not status)
        assert not session.sync_with_code(cached_code(code), LATER)
    else:
        assert (changed, session, session.events) == (False, session_in(status), [])


REJECTED = {
    SessionStatus.PREPARED: (SessionStatus.PREPARED, False, False),
    SessionStatus.IN_PROGRESS: (SessionStatus.CANCELLED, True, False),
    SessionStatus.COMPLETED: (SessionStatus.COMPLETED, True, True),
    SessionStatus.EVALUATED: (SessionStatus.EVALUATED, True, True),
    SessionStatus.EXPIRED: (SessionStatus.EXPIRED, True, False),
    SessionStatus.CANCELLED: (SessionStatus.CANCELLED, True, False),
}


@pytest.mark.parametrize("status", SessionStatus)
def test_a_rejected_use_cancels_a_session_in_progress_and_is_stored_in_a_started_one(
    status: SessionStatus,
) -> None:
    session = session_in(status)
    session.reject_use(LATER)
    result = (session.status, session.use_rejected, session.used_without_right)
    assert result == REJECTED[status]
    assert bool(session.events) is (status is SessionStatus.IN_PROGRESS)


# The effect and the events of each action


def test_a_prepared_session_is_announced() -> None:
    session = prepared_session(QUESTIONS)
    session.announce_prepared()
    assert session.events == [
        SessionPrepared(
            session_id="ses_1",
            order_id="ord_1",
            access_code_id="acc_1_1",
            product_id=PRODUCT_ID,
            occurred_at=NOW,
        )
    ]


def interview_started(
    source: ValidationSource, occurred_at: datetime, refund_id: str = ""
) -> InterviewStarted:
    return InterviewStarted(
        session_id="ses_1",
        access_code=CODE,
        order_id="ord_1",
        access_code_id="acc_1_1",
        started_at=NOW,
        validated_by=source,
        occurred_at=occurred_at,
        refund_id=refund_id,
    )


@pytest.mark.parametrize("source", ValidationSource)
def test_a_start_sets_the_deadline_and_records_the_source_of_the_validation(
    source: ValidationSource,
) -> None:
    session = prepared_session(QUESTIONS)
    session.start(CODE, source, NOW, GRACE_PERIOD)
    assert (session.started_at, session.deadline_at) == (NOW, DEADLINE)
    session.confirm_started_for_refund("ref_1", LATER)
    session.reannounce_start(LATER)
    assert session.start_reannounced_at == LATER
    assert session.events == [
        interview_started(source, NOW),
        interview_started(source, LATER, "ref_1"),
        interview_started(source, LATER),
    ]


@pytest.mark.parametrize("status", sorted(STARTED))
def test_a_start_that_is_published_again_says_whether_the_interview_was_completed(
    status: SessionStatus,
) -> None:
    session = session_in(status)
    session.confirm_started_for_refund("ref_1", LATER)
    session.reannounce_start(LATER)
    ended = [event.interview_ended for event in session.events]
    assert ended == [status in {SessionStatus.COMPLETED, SessionStatus.EVALUATED}] * 2


@pytest.mark.parametrize("status", sorted(STARTED))
def test_a_start_is_reverted_by_its_rejection_unless_the_interview_was_completed(
    status: SessionStatus,
) -> None:
    session = session_in(status)
    assert not session.start_reverted
    session.reject_use(LATER)
    session.reannounce_start(LATER)
    completed = status in {SessionStatus.COMPLETED, SessionStatus.EVALUATED}
    assert session.start_reverted is not completed
    assert session.events[-1].interview_ended is completed


def test_questions_are_asked_one_by_one_each_with_its_time_limit() -> None:
    session = session_in(SessionStatus.IN_PROGRESS)
    first = session.ask(None, NOW)
    assert first == open_question()
    assert session.ask(first, NOW + timedelta(seconds=59)) is first
    second = session.ask(first, NOW + timedelta(seconds=60))
    assert second is not None
    assert (second.number, second.question_id) == (2, "q2")
    assert second.answer_by - second.asked_at == timedelta(seconds=120)
    assert session.ask(replace(second, answered_at=LATER), LATER) is None


def test_a_question_must_be_answered_by_the_deadline_of_the_session() -> None:
    session = session_in(SessionStatus.IN_PROGRESS)
    late = session.ask(None, DEADLINE - timedelta(seconds=10))
    assert late is not None
    assert late.answer_by == DEADLINE


def test_an_answer_is_accepted_strictly_before_its_time_limit() -> None:
    session, record = session_in(SessionStatus.IN_PROGRESS), open_question()
    in_time = record.answer_by - INSTANT
    answered = session.accept_answer("q1", record, "Because.", in_time)
    assert (answered.answer, answered.answered_at) == ("Because.", in_time)
    assert session.answered_count == 1
    with pytest.raises(AnswerTooLate, match=r"q1 of session ses_1 .* MISSED since .* IN_PROGRESS$"):
        session.accept_answer("q1", open_question(), "Because.", record.answer_by)


def test_an_answer_after_the_deadline_is_late_even_before_the_session_is_expired() -> None:
    session = session_in(SessionStatus.IN_PROGRESS)
    record = open_question(answer_by=DEADLINE + timedelta(hours=1))
    with pytest.raises(AnswerTooLate):
        session.accept_answer("q1", record, "Because.", DEADLINE)


@pytest.mark.parametrize(
    ("record", "state"),
    [(None, "not asked yet"), (open_question(answered_at=NOW, answer="Because."), "ANSWERED")],
)
def test_only_an_open_question_can_be_answered(record: QARecord | None, state: str) -> None:
    session = session_in(SessionStatus.IN_PROGRESS)
    with pytest.raises(
        QuestionNotOpen, match=f"q1 of session ses_1 .*: it is {state}, .* IN_PROGRESS$"
    ):
        session.accept_answer("q1", deepcopy(record), "Because.", NOW)
    assert session.answered_count == 0


@pytest.mark.parametrize("name", ["ask", "complete", "cancel"])
def test_a_session_past_its_deadline_is_not_in_progress(name: str) -> None:
    """Even before the expiry worker has expired it."""
    session = session_in(SessionStatus.IN_PROGRESS)
    session.deadline_at = LATER
    with pytest.raises(SessionNotInProgress, match="EXPIRED"):
        ACTIONS[name][0](session)


def test_the_status_of_a_question_follows_from_its_answer_and_time_limit() -> None:
    record = open_question()
    assert record.status_at(record.answer_by - INSTANT) is QARecordStatus.OPEN
    assert record.status_at(record.answer_by) is QARecordStatus.MISSED
    answered = open_question(answered_at=NOW)
    assert answered.status_at(record.answer_by) is QARecordStatus.ANSWERED


def test_a_completed_interview_records_how_many_questions_were_answered() -> None:
    session = session_in(SessionStatus.IN_PROGRESS)
    session.accept_answer("q1", open_question(), "Because.", NOW)
    session.complete(LATER)
    assert session.ended_at == LATER
    assert session.events == [
        InterviewCompleted(
            session_id="ses_1",
            order_id="ord_1",
            answered_count=1,
            question_count=2,
            occurred_at=LATER,
        )
    ]


def session_cancelled(reason: CancelReason, *, was_started: bool) -> SessionCancelled:
    return SessionCancelled(
        session_id="ses_1",
        order_id="ord_1",
        cancel_reason=reason,
        was_started=was_started,
        customer_id="cus_1",
        recipient=RECIPIENT,
        product_id=PRODUCT_ID,
        occurred_at=LATER,
    )


@pytest.mark.parametrize(
    ("status", "action", "reason"),
    [
        (SessionStatus.IN_PROGRESS, Session.cancel, CancelReason.REQUESTED),
        (SessionStatus.IN_PROGRESS, Session.reject_use, CancelReason.USE_REJECTED),
        (SessionStatus.PREPARED, Session.cancel_orphaned, CancelReason.ACCESS_CODE_REVOKED),
    ],
)
def test_a_cancelled_session_records_the_reason_and_the_recipient(
    status: SessionStatus, action: Callable[[Session, datetime], None], reason: CancelReason
) -> None:
    session = session_in(status)
    action(session, LATER)
    assert (session.cancel_reason, session.ended_at) == (reason, LATER)
    assert session.events == [session_cancelled(reason, was_started=session.was_started)]


@pytest.mark.parametrize("status", [SessionStatus.PREPARED, SessionStatus.IN_PROGRESS])
def test_a_session_expires_at_its_time_and_not_before(status: SessionStatus) -> None:
    session = session_in(status)
    with pytest.raises(SessionNotExpirable):
        session.expire(DEADLINE - INSTANT, DEADLINE)
    session.expire(DEADLINE, DEADLINE)
    assert session.events == [
        SessionExpired(
            session_id="ses_1",
            order_id="ord_1",
            was_started=status is SessionStatus.IN_PROGRESS,
            occurred_at=DEADLINE,
        )
    ]


def test_feedback_is_published() -> None:
    session = session_in(SessionStatus.COMPLETED)
    session.evaluate(FEEDBACK)
    assert session.events == [
        FeedbackPublished(
            session_id="ses_1",
            order_id="ord_1",
            feedback_id="fbk_1",
            rating=4,
            customer_id="cus_1",
            recipient=RECIPIENT,
            product_id=PRODUCT_ID,
            occurred_at=LATER,
        )
    ]
