"""Giving up orders that nobody paid: their payments are closed at the provider first.

So an order ends CANCELLED or EXPIRED only when none of its payments can succeed any more. One that
turns out to be captured pays the order instead.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from payment_svc.domain.payments import PaymentInProgress
from payment_svc.storage.unit_of_work import Database
from payment_svc.workflows.payments import PaymentWorkflow, ProviderUnavailable

_ROUNDS = 3
T = TypeVar("T")


class OrderClosing:
    """Closes what is open of an order, then lets a step be taken that needs it closed."""

    def __init__(self, database: Database, payments: PaymentWorkflow) -> None:
        self._database, self._payments = database, payments

    async def with_payments_closed(self, order_id: str, step: Callable[[], Awaitable[T]]) -> T:
        """Takes the step, a transaction that raises PaymentInProgress if a payment has begun.

        Raises ProviderUnavailable if a payment can't be closed, and what the step raises.
        """
        for _ in range(_ROUNDS):
            await self._close_payments(order_id)
            try:
                return await step()
            except PaymentInProgress:  # begun since we looked
                continue
        raise ProviderUnavailable(f"payments of order {order_id} begin again and again")

    async def _close_payments(self, order_id: str) -> None:
        async with self._database.read_only() as uow:
            payment = await uow.payments.find_open(order_id)
        if payment:
            await self._payments.close(payment)
