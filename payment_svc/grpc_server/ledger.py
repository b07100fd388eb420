"""payment.v1.PaymentService: ledger."""

from payment.v1 import payment_service_pb2
from payment_svc.grpc_server.dependencies import PaymentServicerBase
from payment_svc.messages import replies
from runtime.rpc.call_layer import Context


class LedgerServicer(PaymentServicerBase):
    """Ledger methods of payment.v1.PaymentService."""

    async def CheckLedger(  # noqa: N802
        self, request: payment_service_pb2.CheckLedgerRequest, _context: Context
    ) -> payment_service_pb2.CheckLedgerResponse:
        async with self._database.read_only() as uow:
            report = await uow.ledger.check([request.order_id] if request.order_id else None)
        return payment_service_pb2.CheckLedgerResponse(
            checked_count=report.checked_count,
            imbalances=[replies.ledger_entry(entry) for entry in report.imbalances],
            totals=[replies.ledger_entry(entry) for entry in report.totals],
        )
