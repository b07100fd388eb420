"""interview.v1.InterviewService: the state of the fallback."""

from interview.v1 import interview_service_pb2 as contract
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies
from runtime.rpc.call_layer import Context


class FallbackServicer(InterviewServicerBase):
    """GetFallbackStatus."""

    async def GetFallbackStatus(  # noqa: N802
        self, _request: contract.GetFallbackStatusRequest, _context: Context
    ) -> contract.GetFallbackStatusResponse:
        return replies.fallback_status(await self._dependencies.fallback.status())
