"""The call of payment.v1.PaymentService that checks the money."""

from payment.v1 import payment_service_pb2
from payment_svc.messages import replies
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.ledger import check_ledger
from runtime.rpc.interceptor import Context


class LedgerCalls:
    """A part of PaymentServicer."""

    _database: Database

    async def CheckLedger(  # noqa: N802
        self, request: payment_service_pb2.CheckLedgerRequest, _context: Context
    ) -> payment_service_pb2.CheckLedgerResponse:
        async with self._database.read_only() as uow:
            report = await check_ledger(request.order_id, uow.ledger)
        return payment_service_pb2.CheckLedgerResponse(
            checked_count=report.checked_count,
            imbalances=[replies.ledger_entry(entry) for entry in report.imbalances],
            totals=[replies.ledger_entry(entry) for entry in report.totals],
        )
