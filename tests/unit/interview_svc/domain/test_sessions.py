"""interview's aggregates: given a state, when a verb, then a state and events, or a refusal."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from interview_svc.domain.cached_code import (
    CachedCode,
    CodeExpired,
    CodeNotStartable,
    CodeRecord,
    CodeRedeemed,
    CodeRevoked,
    CodeStatus,
    CodeSuspended,
    CodeUpdate,
    Holder,
    ValidationReason,
    check_valid,
)
from interview_svc.domain.events import (
    CancelReason,
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
from interview_svc.domain.qa_records import (
    AnswerTooLate,
    QARecord,
    QARecordStatus,
    QuestionNotOpen,
)
from interview_svc.domain.questions import Question, QuestionBank, QuestionSet
from interview_svc.domain.session_states import (
    SessionNotCallable,
    SessionNotCompleted,
    SessionNotEnded,
    SessionNotInProgress,
    SessionNotStartable,
    SessionNotStarted,
    SessionStatus,
)
from interview_svc.domain.sessions import Session
from interview_svc.question_bank import GENERAL, load

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
GRACE_PERIOD = timedelta(minutes=5)
QUESTIONS = QuestionSet(
    "behavioral-30", 1, "en", (Question("q1", "Why?", 60), Question("q2", "How?", 120))
)
DEADLINE = NOW + timedelta(minutes=3) + GRACE_PERIOD
RECIPIENT = Recipient("li@example.com", "Li", "en")
RECORD = CodeRecord(
    order_id="ord_1",
    access_code_id="acc_1",
    code="7ZK4-0PQX-M2A9-E5TB",
    status=CodeStatus.ACTIVE,
    expire_at=NOW + timedelta(days=1),
    version=3,
    product_id="behavioral-30",
)
FEEDBACK = Feedback("fbk_1", "ses_1", Assessment(4, "Good.", ()), "operator:mei", LATER)
REFUSALS = {
    ValidationReason.REVOKED: CodeRevoked,
    ValidationReason.SUSPENDED: CodeSuspended,
    ValidationReason.REDEEMED: CodeRedeemed,
    ValidationReason.EXPIRED: CodeExpired,
}
STARTED = set(SessionStatus) - {SessionStatus.PREPARED}


def a_session(status: SessionStatus = SessionStatus.PREPARED) -> Session:
    """A session that stands so, started at NOW unless PREPARED."""
    session = Session(
        "ses_1", "ord_1", "cus_1", RECIPIENT, "behavioral-30", "acc_1", QUESTIONS, NOW
    )
    if status is not SessionStatus.PREPARED:
        session.start(RECORD.code, ValidationSource.PAYMENT, NOW, GRACE_PERIOD)
    session.events.clear()
    session.status = status
    return session


def an_entry(status: CodeStatus) -> CachedCode:
    return CachedCode(replace(RECORD, status=status, access_code_id="acc_2"))


def a_question(**more: object) -> QARecord:
    return replace(QARecord("ses_1", 1, "q1", NOW, NOW + timedelta(seconds=60)), **more)  # type: ignore[arg-type]


# Session: every state and every verb

Verb = Callable[[Session], object]
VERBS: dict[str, tuple[Verb, dict[SessionStatus, SessionStatus], type[Exception]]] = {
    "start": (
        lambda one: one.start(RECORD.code, ValidationSource.PAYMENT, LATER, GRACE_PERIOD),
        {SessionStatus.PREPARED: SessionStatus.IN_PROGRESS},
        SessionNotStartable,
    ),
    "ask": (
        lambda one: one.ask(None, LATER),
        {SessionStatus.IN_PROGRESS: SessionStatus.IN_PROGRESS},
        SessionNotInProgress,
    ),
    "take_answer": (
        lambda one: one.take_answer("q1", a_question(), "Because.", NOW),
        {SessionStatus.IN_PROGRESS: SessionStatus.IN_PROGRESS},
        SessionNotInProgress,
    ),
    "complete": (
        lambda one: one.complete(LATER),
        {SessionStatus.IN_PROGRESS: SessionStatus.COMPLETED},
        SessionNotInProgress,
    ),
    "cancel": (
        lambda one: one.cancel(LATER),
        {SessionStatus.IN_PROGRESS: SessionStatus.CANCELLED},
        SessionNotInProgress,
    ),
    "evaluate": (
        lambda one: one.evaluate(FEEDBACK),
        {SessionStatus.COMPLETED: SessionStatus.EVALUATED},
        SessionNotCompleted,
    ),
    "expire": (
        lambda one: one.expire(DEADLINE, DEADLINE),
        {
            SessionStatus.PREPARED: SessionStatus.EXPIRED,
            SessionStatus.IN_PROGRESS: SessionStatus.EXPIRED,
        },
        SessionNotEnded,
    ),
    "cancel_orphaned": (
        lambda one: one.cancel_orphaned(LATER),
        {
            SessionStatus.PREPARED: SessionStatus.CANCELLED,
            SessionStatus.IN_PROGRESS: SessionStatus.CANCELLED,
        },
        SessionNotCallable,
    ),
    "cite": (
        lambda one: one.confirm_started_for_refund("ref_1", LATER),
        {status: status for status in STARTED},
        SessionNotStarted,
    ),
    "announce_start_again": (
        lambda one: one.announce_start_again(LATER),
        {status: status for status in STARTED},
        SessionNotStarted,
    ),
}


@pytest.mark.parametrize("status", SessionStatus)
@pytest.mark.parametrize("verb", VERBS)
def test_every_step_is_one_of_the_diagram_or_refused(verb: str, status: SessionStatus) -> None:
    """A refused step names the session and its state, and changes and announces nothing."""
    step, allowed, error = VERBS[verb]
    session, before = a_session(status), a_session(status)
    if after := allowed.get(status):
        step(session)
        assert session.status is after
    else:
        with pytest.raises(error, match=f"session ses_1 is {status}") as refused:
            step(session)
        assert refused.value.subject == "ses_1"  # type: ignore[attr-defined]
        assert (session, session.events) == (before, [])


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
    session = a_session(status)
    changed = session.sync_with_code(an_entry(code), LATER)
    if status is SessionStatus.PREPARED:
        bound = code in {CodeStatus.ACTIVE, CodeStatus.SUSPENDED}
        assert session.status is FOLLOWS[code]
        assert session.access_code_id == ("acc_2" if bound else "acc_1")
        assert changed is (bound or session.status is not status)
        assert not session.sync_with_code(an_entry(code), LATER)
    else:
        assert (changed, session, session.events) == (False, a_session(status), [])


REJECTED = {
    SessionStatus.PREPARED: (SessionStatus.PREPARED, False, False),
    SessionStatus.IN_PROGRESS: (SessionStatus.CANCELLED, True, False),
    SessionStatus.COMPLETED: (SessionStatus.COMPLETED, True, True),
    SessionStatus.EVALUATED: (SessionStatus.EVALUATED, True, True),
    SessionStatus.EXPIRED: (SessionStatus.EXPIRED, True, False),
    SessionStatus.CANCELLED: (SessionStatus.CANCELLED, True, False),
}


@pytest.mark.parametrize("status", SessionStatus)
def test_a_rejected_use_undoes_what_still_runs_and_is_noted(status: SessionStatus) -> None:
    session = a_session(status)
    session.reject_use(LATER)
    told = (session.status, session.use_rejected, session.used_without_right)
    assert told == REJECTED[status]
    assert bool(session.events) is (status is SessionStatus.IN_PROGRESS)


# What each verb says


def test_a_prepared_session_is_announced() -> None:
    session = a_session()
    session.announce_prepared()
    assert session.events == [
        SessionPrepared(
            session_id="ses_1",
            order_id="ord_1",
            access_code_id="acc_1",
            product_id="behavioral-30",
            occurred_at=NOW,
        )
    ]


def a_start(source: ValidationSource, occurred_at: datetime, refund: str = "") -> InterviewStarted:
    return InterviewStarted(
        session_id="ses_1",
        access_code=RECORD.code,
        order_id="ord_1",
        access_code_id="acc_1",
        started_at=NOW,
        validated_by=source,
        occurred_at=occurred_at,
        refund_id=refund,
    )


@pytest.mark.parametrize("source", ValidationSource)
def test_a_started_session_has_a_deadline_and_says_who_found_its_code_valid(
    source: ValidationSource,
) -> None:
    session = a_session()
    session.start(RECORD.code, source, NOW, GRACE_PERIOD)
    assert (session.started_at, session.deadline_at) == (NOW, DEADLINE)
    session.confirm_started_for_refund("ref_1", LATER)
    session.announce_start_again(LATER)
    assert session.announced_again_at == LATER
    assert session.events == [
        a_start(source, NOW),
        a_start(source, LATER, "ref_1"),
        a_start(source, LATER),
    ]


def test_the_questions_come_one_by_one_each_with_its_time() -> None:
    session = a_session(SessionStatus.IN_PROGRESS)
    first = session.ask(None, NOW)
    assert first == a_question()
    assert session.ask(first, NOW + timedelta(seconds=59)) is first
    second = session.ask(first, NOW + timedelta(seconds=60))
    assert second is not None
    assert (second.number, second.question_id) == (2, "q2")
    assert second.answer_by - second.asked_at == timedelta(seconds=120)
    assert session.ask(replace(second, answered_at=LATER), LATER) is None


def test_a_question_that_is_asked_late_ends_with_the_interview() -> None:
    session = a_session(SessionStatus.IN_PROGRESS)
    late = session.ask(None, DEADLINE - timedelta(seconds=10))
    assert late is not None
    assert late.answer_by == DEADLINE


def test_an_answer_is_taken_until_its_time_is_over() -> None:
    session, record = a_session(SessionStatus.IN_PROGRESS), a_question()
    in_time = record.answer_by - INSTANT
    answered = session.take_answer("q1", record, "Because.", in_time)
    assert (answered.answer, answered.answered_at) == ("Because.", in_time)
    assert session.answered_count == 1
    with pytest.raises(AnswerTooLate, match="ses_1 is IN_PROGRESS"):
        session.take_answer("q1", a_question(), "Because.", record.answer_by)


def test_an_answer_after_the_deadline_is_late_also_before_the_sweeper_comes() -> None:
    session = a_session(SessionStatus.IN_PROGRESS)
    record = a_question(answer_by=DEADLINE + timedelta(hours=1))
    with pytest.raises(AnswerTooLate):
        session.take_answer("q1", record, "Because.", DEADLINE)


@pytest.mark.parametrize("record", [None, a_question(answered_at=NOW, answer="Because.")])
def test_only_an_open_question_is_answered(record: QARecord | None) -> None:
    session = a_session(SessionStatus.IN_PROGRESS)
    with pytest.raises(QuestionNotOpen, match="ses_1 is IN_PROGRESS"):
        session.take_answer("q1", deepcopy(record), "Because.", NOW)
    assert session.answered_count == 0


@pytest.mark.parametrize("verb", ["ask", "complete", "cancel"])
def test_past_its_deadline_a_session_is_not_in_progress(verb: str) -> None:
    """Also if the sweeper is late."""
    session = a_session(SessionStatus.IN_PROGRESS)
    session.deadline_at = LATER
    with pytest.raises(SessionNotInProgress, match="EXPIRED"):
        VERBS[verb][0](session)


def test_what_became_of_a_question() -> None:
    record = a_question()
    assert record.status_at(record.answer_by - INSTANT) is QARecordStatus.OPEN
    assert record.status_at(record.answer_by) is QARecordStatus.MISSED
    answered = a_question(answered_at=NOW)
    assert answered.status_at(record.answer_by) is QARecordStatus.ANSWERED


def test_a_completed_interview_says_how_many_questions_were_answered() -> None:
    session = a_session(SessionStatus.IN_PROGRESS)
    session.take_answer("q1", a_question(), "Because.", NOW)
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


def a_cancellation(reason: CancelReason, *, was_started: bool) -> SessionCancelled:
    return SessionCancelled(
        session_id="ses_1",
        order_id="ord_1",
        cancel_reason=reason,
        was_started=was_started,
        customer_id="cus_1",
        recipient=RECIPIENT,
        product_id="behavioral-30",
        occurred_at=LATER,
    )


@pytest.mark.parametrize(
    ("status", "verb", "reason"),
    [
        (SessionStatus.IN_PROGRESS, Session.cancel, CancelReason.REQUESTED),
        (SessionStatus.IN_PROGRESS, Session.reject_use, CancelReason.USE_REJECTED),
        (SessionStatus.PREPARED, Session.cancel_orphaned, CancelReason.ACCESS_CODE_REVOKED),
    ],
)
def test_a_cancelled_session_says_why_and_whom_to_tell(
    status: SessionStatus, verb: Callable[[Session, datetime], None], reason: CancelReason
) -> None:
    session = a_session(status)
    verb(session, LATER)
    assert (session.cancel_reason, session.ended_at) == (reason, LATER)
    assert session.events == [a_cancellation(reason, was_started=session.was_started)]


@pytest.mark.parametrize("status", [SessionStatus.PREPARED, SessionStatus.IN_PROGRESS])
def test_the_clock_ends_a_session_at_its_time_and_not_before(status: SessionStatus) -> None:
    session = a_session(status)
    with pytest.raises(SessionNotEnded):
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
    session = a_session(SessionStatus.COMPLETED)
    session.evaluate(FEEDBACK)
    assert session.events == [
        FeedbackPublished(
            session_id="ses_1",
            order_id="ord_1",
            feedback_id="fbk_1",
            rating=4,
            customer_id="cus_1",
            recipient=RECIPIENT,
            product_id="behavioral-30",
            occurred_at=LATER,
        )
    ]


# CachedCode

HOLDER = Holder("cus_1", "li@example.com", "Li", "en")


@pytest.mark.parametrize("version", [4, 5, 1000])
def test_a_newer_record_is_taken_and_a_gap_is_normal(version: int) -> None:
    entry, newer = CachedCode(RECORD), replace(RECORD, version=version, status=CodeStatus.REVOKED)
    assert entry.apply(CodeUpdate(newer, refunded=True)) is True
    assert (entry.record, entry.refunded) == (newer, True)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_an_older_record_and_the_same_again_are_not_taken(version: int) -> None:
    entry = CachedCode(RECORD)
    older = replace(RECORD, version=version, status=CodeStatus.REVOKED)
    assert entry.apply(CodeUpdate(older, refunded=True)) is False
    assert entry == CachedCode(RECORD)


def test_an_older_event_still_tells_who_holds_the_code() -> None:
    entry = CachedCode(RECORD)
    assert entry.apply(CodeUpdate(replace(RECORD, version=1), HOLDER)) is True
    assert entry == CachedCode(RECORD, HOLDER)
    assert entry.apply(CodeUpdate(replace(RECORD, version=1), replace(HOLDER, email="x"))) is False
    assert entry.holder == HOLDER


@pytest.mark.parametrize(
    ("version", "known", "taken"),
    [
        (2, 2, False),
        (3, 2, True),
        (4, 2, True),
        # Ours didn't change since before payment was asked: it was ahead of payment, and wrong.
        (2, 3, True),
    ],
)
def test_what_payment_answers_counts_from_our_own_version_on(
    version: int, known: int, taken: bool
) -> None:
    entry = CachedCode(RECORD)
    answer = replace(RECORD, version=version, status=CodeStatus.REVOKED)
    assert entry.correct(CodeUpdate(answer), known) is taken
    assert (entry.record == answer) is taken
    assert entry.correct(CodeUpdate(answer), known) is False


def test_an_active_code_may_start_until_it_expires() -> None:
    CachedCode(RECORD).check_startable(RECORD.expire_at - INSTANT)
    with pytest.raises(CodeExpired):
        CachedCode(RECORD).check_startable(RECORD.expire_at)


@pytest.mark.parametrize("status", sorted(set(CodeStatus) - {CodeStatus.ACTIVE}))
def test_a_code_that_isnt_active_starts_nothing_and_says_why(status: CodeStatus) -> None:
    entry = CachedCode(replace(RECORD, status=status))
    assert entry.withholds
    with pytest.raises(REFUSALS[ValidationReason(status)]):
        entry.check_startable(NOW)


def test_an_active_code_withholds_nothing() -> None:
    assert not CachedCode(RECORD).withholds


def test_the_status_goes_before_the_expiry() -> None:
    with pytest.raises(CodeRevoked):
        CachedCode(replace(RECORD, status=CodeStatus.REVOKED)).check_startable(RECORD.expire_at)


@pytest.mark.parametrize("reason", REFUSALS)
def test_each_refusal_is_about_the_access_code(reason: ValidationReason) -> None:
    with pytest.raises(CodeNotStartable) as refused:
        check_valid(reason)
    assert type(refused.value) is REFUSALS[reason]
    assert refused.value.subject == "access_code"


def test_a_valid_code_is_not_refused() -> None:
    check_valid(ValidationReason.VALID)


# Questions


def questions(product: str, language: str) -> QuestionSet:
    return QuestionSet(product, 1, language, ())


BANK = QuestionBank(
    {
        (product, language): questions(product, language)
        for product, language in (
            ("general", "en"),
            ("general", "zh-CN"),
            ("system-design", "en"),
        )
    },
    "general",
)


@pytest.mark.parametrize(
    ("product", "language", "chosen"),
    [
        ("general", "zh-CN", ("general", "zh-CN")),
        ("system-design", "en", ("system-design", "en")),
        ("system-design", "zh-CN", ("system-design", "en")),
        ("unheard-of", "zh-CN", ("general", "zh-CN")),
        ("unheard-of", "fr", ("general", "en")),
        ("general", "", ("general", "en")),
    ],
)
def test_questions_are_chosen_by_product_then_language_then_english(
    product: str, language: str, chosen: tuple[str, str]
) -> None:
    assert BANK.choose(product, language) == questions(*chosen)


def test_the_bank_that_ships_is_whole() -> None:
    """Each set has questions with a text and a time, the same ones in both languages."""
    bank = load()
    for product in ("behavioral-30", GENERAL, "unheard-of"):
        sets = [bank.choose(product, language) for language in ("zh-CN", "en")]
        assert [found.language_code for found in sets] == ["zh-CN", "en"]
        ids = [[question.question_id for question in found.questions] for found in sets]
        assert ids[0] == ids[1]
        assert len(ids[0]) == len(set(ids[0])) > 0
        for found in sets:
            assert all(one.text.strip() and one.time_limit_seconds > 0 for one in found.questions)
