"""Closes the open payments of an order before the order is cancelled or expires.

An order becomes CANCELLED or EXPIRED only when none of its payments can succeed any more. A payment
that turns out to be captured pays the order instead.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from payment_svc.domain.payment_errors import PaymentInProgress
from payment_svc.storage.unit_of_work import Database
from payment_svc.workflows.payments import PaymentWorkflow, ProviderUnavailable

_MAX_ATTEMPTS = 3
T = TypeVar("T")


class OrderClosing:
    """Closes an order's open payment, then runs a transaction that requires that."""

    def __init__(self, database: Database, payments: PaymentWorkflow) -> None:
        self._database, self._payments = database, payments

    async def with_payments_closed(
        self, order_id: str, transaction: Callable[[], Awaitable[T]]
    ) -> T:
        """Runs `transaction`, which raises PaymentInProgress if a payment was created meanwhile.

        Raises ProviderUnavailable if a payment cannot be closed, and what `transaction` raises.
        """
        for _ in range(_MAX_ATTEMPTS):
            await self._close_payment(order_id)
            try:
                return await transaction()
            except PaymentInProgress:  # created since the payment was closed
                continue
        raise ProviderUnavailable(f"order {order_id}: new payments are created repeatedly")

    async def _close_payment(self, order_id: str) -> None:
        async with self._database.read_only() as uow:
            payment = await uow.payments.find_open(order_id)
        if payment:
            await self._payments.close(payment)
