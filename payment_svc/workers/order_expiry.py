"""Expires orders that were not paid in time; their open payments are closed first."""

import asyncio

import structlog

from eventbus.errors import describe_error
from payment_svc.domain.order_errors import OrderNotExpirable
from payment_svc.domain.payment_errors import PaymentInProgress
from payment_svc.domain.payments import Payment
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.orders import expire_order
from payment_svc.workflows.payments import PaymentWorkflow
from runtime.clock import utc_now

_log = structlog.get_logger(__name__)
_CONCURRENCY, _BATCH = 20, 500


class OrderExpiry:
    """Sets EXPIRED on unpaid orders whose `expire_at` has passed."""

    def __init__(self, database: Database, payments: PaymentWorkflow) -> None:
        self._database, self._payments = database, payments

    async def run_round(self) -> None:
        """Runs one round. A payment that cannot be closed delays only its own order."""
        async with self._database.read_only() as uow:
            payments = await uow.payments.open_of_expiring_orders(_CONCURRENCY)
        await asyncio.gather(*(self._close(payment) for payment in payments))
        async with self._database.read_only() as uow:
            order_ids = await uow.orders.ids_due_to_expire(_BATCH)
        for order_id in order_ids:
            await self._expire(order_id)

    async def _close(self, payment: Payment) -> None:
        try:
            await self._payments.close(payment)
        except Exception as error:  # noqa: BLE001  the next round tries again
            _log.warning(
                "payment not closed",
                payment_id=payment.payment_id,
                order_id=payment.order_id,
                error=describe_error(error),
            )

    async def _expire(self, order_id: str) -> None:
        try:
            async with self._database.transaction() as uow:
                await expire_order(order_id, uow, clock=utc_now)
        except (OrderNotExpirable, PaymentInProgress):  # changed by another replica or a customer
            return
        _log.info("order expired", order_id=order_id)
