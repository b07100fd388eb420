"""The use case of feedback, with the unit of work in memory."""

from copy import deepcopy

import pytest

from interview_svc.domain.errors import QuestionUnknown, SessionNotCompleted, SessionNotFound
from interview_svc.domain.events import FeedbackPublished, InterviewCompleted
from interview_svc.domain.feedback import Assessment, Feedback, QuestionComment
from interview_svc.domain.session_state import SessionStatus
from interview_svc.use_cases.feedback import CreateFeedback, create_feedback
from interview_svc.use_cases.qa_records import next_question
from interview_svc.use_cases.sessions import SessionRef, complete_session
from tests.builders.interview import NOW, after, started_interview
from tests.fakes.clock import at
from tests.fakes.interview import InMemoryUnitOfWork

REF = SessionRef("ses_1", "cus_1")


def command(*question_ids: str) -> CreateFeedback:
    comments = tuple(QuestionComment(question_id, "Clear.") for question_id in question_ids)
    return CreateFeedback("fbk_1", "ses_1", Assessment(4, "Good.", comments), "operator:mei")


async def one_question_asked() -> InMemoryUnitOfWork:
    uow = await started_interview()
    await next_question(REF, uow, clock=at(NOW))
    return uow


async def test_feedback_is_published_once_and_only_for_a_completed_interview() -> None:
    uow = await one_question_asked()
    with pytest.raises(SessionNotCompleted):
        await create_feedback(command("q1"), uow, clock=at(after(1)))
    await complete_session(REF, uow, clock=at(after(2)))
    feedback = await create_feedback(command("q1"), uow, clock=at(after(3)))
    assert feedback == Feedback(
        "fbk_1", "ses_1", command("q1").assessment, "operator:mei", after(3)
    )
    assert uow.feedback.saved == {"ses_1": feedback}
    assert uow.sessions.saved["ord_1"].status is SessionStatus.EVALUATED
    assert [type(event) for event in uow.events] == [InterviewCompleted, FeedbackPublished]
    with pytest.raises(SessionNotCompleted):
        await create_feedback(command("q1"), uow, clock=at(after(4)))


async def test_feedback_needs_no_comments() -> None:
    uow = await one_question_asked()
    await complete_session(REF, uow, clock=at(after(1)))
    await create_feedback(command(), uow, clock=at(after(2)))
    assert uow.feedback.saved["ses_1"].assessment.comments == ()


@pytest.mark.parametrize("unknown", ["q2", "unknown"])
async def test_a_comment_on_a_question_that_was_not_asked_is_rejected(unknown: str) -> None:
    """q2 is a question of the set that this session has not asked."""
    uow = await one_question_asked()
    await complete_session(REF, uow, clock=at(after(1)))
    before = deepcopy(uow.sessions.saved)
    with pytest.raises(QuestionUnknown, match=unknown):
        await create_feedback(command("q1", unknown), uow, clock=at(after(2)))
    assert (uow.sessions.saved, uow.feedback.saved) == (before, {})


async def test_feedback_on_an_unknown_session_is_rejected() -> None:
    with pytest.raises(SessionNotFound):
        await create_feedback(command(), InMemoryUnitOfWork(), clock=at(NOW))
