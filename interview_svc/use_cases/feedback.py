"""Feedback on a completed interview."""

from dataclasses import dataclass

from interview_svc.domain.feedback import Assessment, Feedback
from interview_svc.use_cases.ports import Clock, UnitOfWork


@dataclass(frozen=True, slots=True)
class CreateFeedback:
    """Publishes an assessment of a session."""

    feedback_id: str
    session_id: str
    assessment: Assessment
    given_by: str


async def create_feedback(command: CreateFeedback, uow: UnitOfWork, *, clock: Clock) -> Feedback:
    """Publishes feedback; the session becomes EVALUATED.

    Raises SessionNotFound, SessionNotCompleted, and QuestionUnknown if a comment refers to a
    question that the session has not asked.
    """
    session = await uow.sessions.get(command.session_id, customer_id=None)
    now = clock()
    feedback = Feedback(
        command.feedback_id, command.session_id, command.assessment, command.given_by, now
    )
    session.evaluate(feedback)
    feedback.check_comments(await uow.qa_records.asked_question_ids(session.session_id))
    await uow.feedback.add(feedback)
    await uow.sessions.save_many([session])
    return feedback
