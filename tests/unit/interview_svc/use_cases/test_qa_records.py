"""The use cases about the questions of a session in progress, with the unit of work in memory."""

import pytest

from interview_svc.domain.errors import AnswerTooLate, QuestionNotOpen
from interview_svc.domain.events import InterviewCompleted
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.session_state import SessionStatus
from interview_svc.use_cases.qa_records import SubmitAnswer, next_question, submit_answer
from interview_svc.use_cases.sessions import SessionRef, complete_session
from tests.builders.interview import after, started_interview
from tests.fakes.clock import at
from tests.fakes.interview import InMemoryUnitOfWork

REF = SessionRef("ses_1", "cus_1")


async def ask(uow: InMemoryUnitOfWork, seconds: float = 0) -> QARecord | None:
    return (await next_question(REF, uow, clock=at(after(seconds))))[1]


async def answer(uow: InMemoryUnitOfWork, question_id: str = "q1", seconds: float = 0) -> QARecord:
    command = SubmitAnswer(REF, question_id, "Because.")
    return (await submit_answer(command, uow, clock=at(after(seconds))))[1]


async def test_an_interview_asks_its_questions_one_by_one() -> None:
    uow = await started_interview()
    for question_id in ("q1", "q2"):
        asked = await ask(uow)
        assert asked is not None
        assert asked.question_id == question_id
        assert await ask(uow, 1) == asked
        await answer(uow, question_id)
    assert await ask(uow) is None
    session = await complete_session(REF, uow, clock=at(after(9)))
    assert (session.status, session.answered_count) == (SessionStatus.COMPLETED, 2)
    assert uow.events == [
        InterviewCompleted(
            session_id="ses_1",
            order_id="ord_1",
            answered_count=2,
            question_count=2,
            occurred_at=after(9),
        )
    ]


async def test_the_next_question_follows_a_missed_one() -> None:
    uow = await started_interview()
    await ask(uow)
    with pytest.raises(AnswerTooLate):
        await answer(uow, seconds=60)
    second = await ask(uow, 61)
    assert second is not None
    assert second.question_id == "q2"
    with pytest.raises(AnswerTooLate):
        await answer(uow, "q1", 62)
    assert (await answer(uow, "q2", 62)).answered_at == after(62)
    assert uow.sessions.saved["ord_1"].answered_count == 1


async def test_only_the_open_question_can_be_answered() -> None:
    uow = await started_interview()
    with pytest.raises(QuestionNotOpen):
        await answer(uow)
    await ask(uow)
    await answer(uow)
    for question_id in ("q1", "q2", "unknown"):
        with pytest.raises(QuestionNotOpen):
            await answer(uow, question_id)


async def test_the_refused_answer_names_its_question() -> None:
    uow = await started_interview()
    with pytest.raises(QuestionNotOpen, match="q2"):
        await answer(uow, "q2")
