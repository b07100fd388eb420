"""Giving up orders that nobody paid: their payments are closed at the provider first.

So an order ends CANCELLED or EXPIRED only when none of its payments can succeed any more. One that
turns out to be captured pays the order instead.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from eventbus.errors import describe_error
from payment_svc.domain.orders import OrderNotExpirable
from payment_svc.domain.payments import Payment, PaymentInProgress
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.orders import expire_order
from payment_svc.workflows.payments import PaymentWorkflow, ProviderUnavailable

_log = structlog.get_logger(__name__)
_ROUNDS = 3
_CLOSED_AT_ONCE, _EXPIRED_AT_ONCE = 20, 500
T = TypeVar("T")


class OrderClosing:
    """Closes what is open of an order, then lets a step be taken that needs it closed."""

    def __init__(self, database: Database, charging: PaymentWorkflow) -> None:
        self._database, self._charging = database, charging

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
            await self._charging.close(payment)


class OrderExpiry:
    """Materialises what the clock has decided: orders that nobody paid in time are EXPIRED."""

    def __init__(self, database: Database, charging: PaymentWorkflow) -> None:
        self._database, self._charging = database, charging

    async def sweep(self) -> None:
        """One round. A payment that can't be closed holds up its own order only."""
        async with self._database.read_only() as uow:
            payments = await uow.payments.open_of_lapsed(_CLOSED_AT_ONCE)
        await asyncio.gather(*(self._close(payment) for payment in payments))
        async with self._database.read_only() as uow:
            lapsed = await uow.orders.lapsed(_EXPIRED_AT_ONCE)
        for order_id in lapsed:
            await self._expire(order_id)

    async def _close(self, payment: Payment) -> None:
        try:
            await self._charging.close(payment)
        except Exception as error:  # noqa: BLE001  the next round tries it again
            _log.warning(
                "payment not closed",
                payment_id=payment.payment_id,
                order_id=payment.order_id,
                error=describe_error(error),
            )

    async def _expire(self, order_id: str) -> None:
        try:
            async with self._database.transaction() as uow:
                await expire_order(order_id, uow, now=datetime.now(UTC))
        except (OrderNotExpirable, PaymentInProgress):  # another replica was faster, or a customer
            return
        _log.info("order expired", order_id=order_id)
