"""The reconciliation with payment's access codes."""

from interview.v1 import interview_service_pb2 as contract
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies
from runtime.protobuf import to_timestamp
from runtime.rpc.call_layer import Context


class ReconciliationServicer(InterviewServicerBase):
    """CheckConsistency."""

    async def CheckConsistency(  # noqa: N802
        self, request: contract.CheckConsistencyRequest, _context: Context
    ) -> contract.CheckConsistencyResponse:
        report = await self._dependencies.reconciliation.check(
            repair=request.repair, order_id=request.order_id
        )
        return contract.CheckConsistencyResponse(
            drifts=[replies.drift(drift) for drift in report.drifts],
            compared_count=report.compared_count,
            as_of=to_timestamp(report.as_of),
        )
