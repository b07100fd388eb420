"""Feedback on sessions."""

from interview.v1 import interview_service_pb2 as contract
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies, requests
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.feedback import CreateFeedback, create_feedback
from runtime.auth.authentication import current_caller
from runtime.clock import utc_now
from runtime.ids import new_id
from runtime.rpc.call_layer import Context


class FeedbackServicer(InterviewServicerBase):
    """CreateFeedback and GetFeedback."""

    async def CreateFeedback(  # noqa: N802
        self, request: contract.CreateFeedbackRequest, _context: Context
    ) -> contract.CreateFeedbackResponse:
        command = CreateFeedback(
            feedback_id=new_id("fbk"),
            session_id=request.session_id,
            assessment=requests.assessment(request),
            given_by=current_caller().scope,
        )

        async def handler(uow: UnitOfWork) -> contract.CreateFeedbackResponse:
            feedback = await create_feedback(command, uow, clock=utc_now)
            return contract.CreateFeedbackResponse(feedback=replies.feedback(feedback))

        return await self.run_once(request, contract.CreateFeedbackResponse, handler)

    async def GetFeedback(  # noqa: N802
        self, request: contract.GetFeedbackRequest, _context: Context
    ) -> contract.GetFeedbackResponse:
        customer_id = current_caller().customer
        async with self._database.read_only() as uow:
            feedback = await uow.feedback.get(request.session_id, customer_id=customer_id)
        return contract.GetFeedbackResponse(feedback=replies.feedback(feedback))
