"""payment.v1.PaymentService: payments and refunds without a final outcome."""

from datetime import UTC, datetime

from payment.v1 import payment_service_pb2
from payment_svc.grpc_server.dependencies import PaymentServicerBase
from payment_svc.messages import settlement
from runtime.rpc.call_layer import Context


class SettlementServicer(PaymentServicerBase):
    """GetSettlementStatus."""

    async def GetSettlementStatus(  # noqa: N802
        self, _request: payment_service_pb2.GetSettlementStatusRequest, _context: Context
    ) -> payment_service_pb2.GetSettlementStatusResponse:
        overdue_before = datetime.now(UTC) - self._dependencies.refund_overdue_after
        async with self._database.read_only() as uow:
            status = await uow.settlement.read(overdue_before)
        return settlement.reply(status, self._dependencies.provider_error())
