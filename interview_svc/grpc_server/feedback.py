"""Calls about feedback."""

from datetime import UTC, datetime

from interview.v1 import interview_service_pb2 as contract
from interview_svc.domain.feedback import Assessment, QuestionComment
from interview_svc.domain.session_states import SessionNotCompleted
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.feedback import GivenByPeople, PublishFeedback, publish_feedback
from runtime.auth.authentication import current_caller
from runtime.ids import new_id
from runtime.rpc.interceptor import Context

_MOST_QUESTIONS = 1000


class FeedbackServicer(InterviewServicerBase):
    """Give feedback, and read it."""

    async def CreateFeedback(  # noqa: N802
        self, request: contract.CreateFeedbackRequest, _context: Context
    ) -> contract.CreateFeedbackResponse:
        reply = contract.CreateFeedbackResponse
        if stored := await self.stored_reply(request, reply):
            return stored
        try:
            assessment = await self._evaluate(request)
        except SessionNotCompleted:
            # Our own first call may have given it while this repeat of it was on its way.
            if stored := await self.stored_reply(request, reply):
                return stored
            raise
        command = PublishFeedback(
            feedback_id=new_id("fbk"),
            session_id=request.session_id,
            assessment=assessment,
            given_by=current_caller().scope,
        )

        async def work(uow: UnitOfWork) -> contract.CreateFeedbackResponse:
            feedback = await publish_feedback(command, uow, now=datetime.now(UTC))
            return reply(feedback=replies.feedback(feedback))

        return await self.run_once(request, reply, work)

    async def _evaluate(self, request: contract.CreateFeedbackRequest) -> Assessment:
        """The evaluator's assessment, made before the transaction: it may take its time."""
        comments = tuple(QuestionComment(one.question_id, one.text) for one in request.comments)
        given = Assessment(request.rating, request.summary, comments)
        async with self._database.read_only() as uow:
            session = await uow.sessions.get(request.session_id, only=None)
            records = await uow.qa_records.page(session.session_id, 0, _MOST_QUESTIONS)
        session.check_completed()
        return await GivenByPeople().evaluate(session, records, given)

    async def GetFeedback(  # noqa: N802
        self, request: contract.GetFeedbackRequest, _context: Context
    ) -> contract.GetFeedbackResponse:
        only = current_caller().customer
        async with self._database.read_only() as uow:
            feedback = await uow.feedback.get(request.session_id, only=only)
        return contract.GetFeedbackResponse(feedback=replies.feedback(feedback))
