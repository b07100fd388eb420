"""Taking an interview and giving feedback, over memory."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from interview_svc.domain.cached_code import (
    CachedCode,
    CodeExpired,
    CodeRecord,
    CodeRedeemed,
    CodeRevoked,
    CodeStatus,
    CodeUpdate,
    Holder,
)
from interview_svc.domain.events import (
    FeedbackPublished,
    InterviewCompleted,
    InterviewStarted,
    SessionCancelled,
    SessionExpired,
    ValidationSource,
)
from interview_svc.domain.feedback import Assessment, QuestionComment, QuestionUnknown
from interview_svc.domain.qa_records import AnswerTooLate, QARecord, QuestionNotOpen
from interview_svc.domain.questions import Question, QuestionBank, QuestionSet
from interview_svc.domain.session_states import (
    SessionNotCompleted,
    SessionNotFound,
    SessionNotInProgress,
    SessionNotPrepared,
    SessionNotStartable,
    SessionStatus,
)
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.code_updates import apply_records
from interview_svc.use_cases.feedback import GivenByPeople, PublishFeedback, publish_feedback
from interview_svc.use_cases.interviews import (
    OwnSession,
    StartSession,
    SubmitAnswer,
    announce_starts_again,
    cancel_session,
    complete_session,
    expire_sessions,
    next_question,
    start_session,
    submit_answer,
)
from interview_svc.use_cases.ports import Preparation
from tests.fakes.interview import InMemory

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
GRACE_PERIOD = timedelta(minutes=5)
SET = QuestionSet("general", 1, "en", (Question("q1", "Why?", 60), Question("q2", "How?", 60)))
BANK = QuestionBank({("general", "en"): SET}, "general")
RECORD = CodeRecord(
    order_id="ord_1",
    access_code_id="acc_1",
    code="code 1",
    status=CodeStatus.ACTIVE,
    expire_at=NOW + timedelta(days=1),
    version=1,
    product_id="general",
)
HOLDER = Holder("cus_1", "li@example.com", "Li", "en")
MINE = OwnSession("ses_1", "cus_1")


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


async def prepared() -> InMemory:
    uow = InMemory()
    preparation = Preparation(BANK, lambda: "ses_1", NOW)
    await apply_records([CodeUpdate(RECORD, HOLDER)], uow, preparation=preparation)
    uow.told.clear()
    return uow


async def start(uow: InMemory, code: str = "code 1", now: datetime = NOW) -> Session:
    command = StartSession(code, ValidationSource.PAYMENT)
    return await start_session(command, uow, now=now, grace_period=GRACE_PERIOD)


async def running() -> InMemory:
    uow = await prepared()
    await start(uow)
    uow.told.clear()
    return uow


async def ask(uow: InMemory, seconds: float = 0) -> QARecord | None:
    return (await next_question(MINE, uow, now=after(seconds)))[1]


async def answer(uow: InMemory, question: str = "q1", seconds: float = 0) -> QARecord:
    command = SubmitAnswer(question, "Because.")
    return (await submit_answer(MINE, command, uow, now=after(seconds)))[1]


def the_session(uow: InMemory) -> Session:
    return uow.sessions.saved["ord_1"]


# Starting


async def test_a_session_starts_with_its_code() -> None:
    uow = await prepared()
    session = await start(uow)
    assert session.status is SessionStatus.IN_PROGRESS
    assert the_session(uow) == session
    assert [type(event) for event in uow.told] == [InterviewStarted]


async def test_a_code_that_isnt_known_here_yet_is_asked_to_wait() -> None:
    with pytest.raises(SessionNotPrepared):
        await start(InMemory())


async def test_a_code_whose_session_isnt_there_yet_is_asked_to_wait() -> None:
    uow = InMemory()
    await uow.entries.add_many([CachedCode(RECORD)])
    with pytest.raises(SessionNotPrepared):
        await start(uow)


@pytest.mark.parametrize(
    ("status", "error"), [("REVOKED", CodeRevoked), ("REDEEMED", CodeRedeemed)]
)
async def test_what_was_heard_meanwhile_counts(status: str, error: type[Exception]) -> None:
    """It was VALID for payment a moment ago; interview's own entry knows better."""
    uow = await prepared()
    uow.entries.saved["ord_1"].record = replace(RECORD, version=2, status=CodeStatus(status))
    with pytest.raises(error):
        await start(uow)
    assert the_session(uow).status is SessionStatus.PREPARED


async def test_an_expired_code_starts_nothing() -> None:
    with pytest.raises(CodeExpired):
        await start(await prepared(), now=RECORD.expire_at)


async def test_a_code_starts_its_session_once() -> None:
    uow = await running()
    before = deepcopy(uow.sessions.saved)
    with pytest.raises(SessionNotStartable):
        await start(uow, now=after(60))
    assert (uow.sessions.saved, uow.told) == (before, [])


async def test_a_code_that_was_replaced_starts_nothing() -> None:
    uow = await prepared()
    uow.entries.saved["ord_1"].record = replace(RECORD, version=2, code="new code")
    with pytest.raises(SessionNotPrepared):
        await start(uow)


# Questions and answers


async def test_an_interview_goes_through_its_questions() -> None:
    uow = await running()
    for question in ("q1", "q2"):
        asked = await ask(uow)
        assert asked is not None
        assert asked.question_id == question
        assert await ask(uow, 1) == asked
        await answer(uow, question)
    assert await ask(uow) is None
    session = await complete_session(MINE, uow, now=after(9))
    assert (session.status, session.answered_count) == (SessionStatus.COMPLETED, 2)
    assert uow.told == [
        InterviewCompleted(
            session_id="ses_1",
            order_id="ord_1",
            answered_count=2,
            question_count=2,
            occurred_at=after(9),
        )
    ]


async def test_a_missed_question_gives_way_to_the_next() -> None:
    uow = await running()
    await ask(uow)
    with pytest.raises(AnswerTooLate):
        await answer(uow, seconds=60)
    second = await ask(uow, 61)
    assert second is not None
    assert second.question_id == "q2"
    with pytest.raises(AnswerTooLate):
        await answer(uow, "q1", 62)
    assert (await answer(uow, "q2", 62)).answered_at == after(62)
    assert the_session(uow).answered_count == 1


async def test_what_isnt_open_isnt_answered() -> None:
    uow = await running()
    with pytest.raises(QuestionNotOpen):
        await answer(uow)
    await ask(uow)
    await answer(uow)
    for question in ("q1", "q2", "unheard-of"):
        with pytest.raises(QuestionNotOpen):
            await answer(uow, question)


@pytest.mark.parametrize("verb", [complete_session, cancel_session, next_question])
async def test_others_interviews_are_not_found(verb: object) -> None:
    uow = await running()
    with pytest.raises(SessionNotFound):
        await verb(OwnSession("ses_1", "somebody else"), uow, now=NOW)  # type: ignore[operator]
    await cancel_session(OwnSession("ses_1", None), uow, now=NOW)
    assert [type(event) for event in uow.told] == [SessionCancelled]


async def test_an_interview_that_is_over_takes_nothing_more() -> None:
    uow = await running()
    await ask(uow)
    await cancel_session(MINE, uow, now=after(1))
    before = deepcopy(uow.sessions.saved)
    for step in (
        ask(uow),
        answer(uow),
        complete_session(MINE, uow, now=NOW),
        cancel_session(MINE, uow, now=NOW),
    ):
        with pytest.raises(SessionNotInProgress):
            await step
    assert uow.sessions.saved == before


# The clock


async def test_the_clock_ends_what_was_started_and_what_wasnt() -> None:
    uow = await running()
    other = replace(RECORD, order_id="ord_2", code="code 2", expire_at=after(60))
    preparation = Preparation(BANK, lambda: "ses_2", NOW)
    await apply_records([CodeUpdate(other, HOLDER)], uow, preparation=preparation)
    uow.told.clear()
    deadline = the_session(uow).deadline_at
    assert deadline == after(120) + GRACE_PERIOD
    assert await expire_sessions(uow, now=after(59), limit=10) == 0
    assert await expire_sessions(uow, now=after(60), limit=10) == 1
    assert await expire_sessions(uow, now=deadline, limit=10) == 1
    assert await expire_sessions(uow, now=deadline, limit=10) == 0
    assert uow.told == [
        SessionExpired(
            session_id="ses_2", order_id="ord_2", was_started=False, occurred_at=after(60)
        ),
        SessionExpired(
            session_id="ses_1", order_id="ord_1", was_started=True, occurred_at=deadline
        ),
    ]


async def test_a_start_is_announced_again_once_in_a_while() -> None:
    uow, pause = await running(), timedelta(minutes=10)
    for seconds, announced in ((0, {"ord_1"}), (599, set()), (600, {"ord_1"})):
        told = await announce_starts_again(["ord_1"], uow, now=after(seconds), pause=pause)
        assert told == announced
    assert [type(event) for event in uow.told] == [InterviewStarted] * 2


# Feedback


def given(*questions: str) -> Assessment:
    return Assessment(4, "Good.", tuple(QuestionComment(one, "Clear.") for one in questions))


async def test_feedback_is_given_once_on_a_completed_interview() -> None:
    uow = await running()
    command = PublishFeedback("fbk_1", "ses_1", given("q1"), "operator:mei")
    with pytest.raises(SessionNotCompleted):
        await publish_feedback(command, uow, now=after(1))
    await complete_session(MINE, uow, now=after(2))
    feedback = await publish_feedback(command, uow, now=after(3))
    assert uow.feedback.saved == {"ses_1": feedback}
    assert the_session(uow).status is SessionStatus.EVALUATED
    assert [type(event) for event in uow.told] == [InterviewCompleted, FeedbackPublished]
    with pytest.raises(SessionNotCompleted):
        await publish_feedback(command, uow, now=after(4))


async def test_what_people_say_is_the_assessment_if_it_is_about_asked_questions() -> None:
    uow = await running()
    await ask(uow)
    session, records = the_session(uow), uow.qa_records.saved
    for said in (given(), given("q1")):
        assert await GivenByPeople().evaluate(session, records, said) is said
    for unknown in ("q2", "unheard-of"):
        with pytest.raises(QuestionUnknown, match=unknown):
            await GivenByPeople().evaluate(session, records, given("q1", unknown))
