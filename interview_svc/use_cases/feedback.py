"""Feedback on an interview: somebody evaluates it, then it is published."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from interview_svc.domain.feedback import Assessment, Feedback, QuestionUnknown
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class PublishFeedback:
    """Somebody gives an assessment of a session."""

    feedback_id: str
    session_id: str
    assessment: Assessment
    given_by: str


class GivenByPeople:
    """The Evaluator that adds nothing of its own: what a person said is the assessment."""

    async def evaluate(
        self, session: Session, records: Sequence[QARecord], given: Assessment
    ) -> Assessment:
        """See `Evaluator`."""
        asked = {record.question_id for record in records}
        for comment in given.comments:
            if comment.question_id not in asked:
                raise QuestionUnknown(
                    f"session {session.session_id} did not ask {comment.question_id}"
                )
        return given


async def publish_feedback(command: PublishFeedback, uow: UnitOfWork, *, now: datetime) -> Feedback:
    """The session is EVALUATED; raises SessionNotFound, SessionNotCompleted."""
    session = await uow.sessions.lock(command.session_id, only=None)
    feedback = Feedback(
        command.feedback_id, command.session_id, command.assessment, command.given_by, now
    )
    session.evaluate(feedback)
    await uow.feedback.add(feedback)
    await uow.sessions.save_many([session])
    return feedback
