"""Paying, across transactions: the provider is never called inside one.

The payment is committed PENDING before the provider is asked, under an id that is the provider's
idempotency key. A crash anywhere leaves a payment without outcome; the caller's repeat resumes it,
and so does the reconciler.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import structlog

from eventbus.verdicts import describe
from payment_svc.domain.orders import OrderNotPayable
from payment_svc.domain.payments import (
    Accepted,
    Captured,
    NeverReached,
    Outcome,
    Payment,
    PaymentFinal,
    PaymentMethodUnknown,
    PaymentNotFound,
    PaymentStatus,
)
from payment_svc.gateways import PaymentGateway
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases import (
    BeginPayment,
    NewCode,
    SettlePayment,
    begin_payment,
    settle_payment,
)
from runtime.idempotency import RequestIdReused

_log = structlog.get_logger(__name__)


class NotificationMismatch(Exception):
    """The notification names a payment we don't know, or another order or amount than ours."""


class Charging:
    """Begins payments, asks the provider, settles what it says."""

    def __init__(self, database: Database, gateway: PaymentGateway, codes: NewCode) -> None:
        self._database, self._gateway, self._codes = database, gateway, codes

    async def pay(self, command: BeginPayment) -> Payment:
        """Makes or resumes the attempt that a call asks for.

        Raises what `begin_payment` raises, PaymentMethodUnknown and RequestIdReused.
        """
        if not self._gateway.accepts(command.payment_method):
            raise PaymentMethodUnknown(f"no payment method {command.payment_method}")
        async with self._database.transaction() as uow:
            payment = await begin_payment(command, uow, now=datetime.now(UTC))
        if payment.request_hash != command.request_hash:
            raise RequestIdReused(command.request_id)
        if payment.final:
            return payment
        try:
            return await self._settle(payment, await self._gateway.charge(payment))
        except PaymentFinal:  # settled meanwhile, by a notification or the reconciler
            async with self._database.reading() as uow:
                return await uow.payments.get(payment.payment_id, lock=False)

    async def ingest(self, body: bytes, headers: Mapping[str, str]) -> Payment:
        """Takes in a provider's notification; again, it changes nothing.

        Raises SignatureInvalid, NotificationMalformed, NotificationMismatch.
        """
        told = self._gateway.verify(body, headers, datetime.now(UTC))
        try:
            async with self._database.reading() as uow:
                payment = await uow.payments.get(told.payment_id, lock=False)
            if (told.order_id, told.amount) != (payment.order_id, payment.amount):
                raise NotificationMismatch(f"payment {payment.payment_id} is another")
            return await self._settle(payment, told.outcome)
        except (PaymentNotFound, PaymentFinal) as error:
            raise NotificationMismatch(str(error)) from error

    async def resume(self, payment: Payment) -> None:
        """Settles a payment without outcome: by what the provider knows, or by asking it again.

        A charge that never reached the provider is made now if the order can still be paid: the
        customer asked for it, and the key makes it one charge. Otherwise it is called off.
        """
        outcome = await self._gateway.find(payment.payment_id)
        if isinstance(outcome, NeverReached) and await self._still_payable(payment.order_id):
            outcome = await self._gateway.charge(payment)
        await self._settle(payment, outcome)

    async def _still_payable(self, order_id: str) -> bool:
        async with self._database.reading() as uow:
            order = await uow.orders.get(order_id, lock=False)
        try:
            order.check_payable(None, datetime.now(UTC))
        except OrderNotPayable:
            return False
        return True

    async def _settle(self, payment: Payment, outcome: Outcome) -> Payment:
        if isinstance(outcome, Accepted) and payment.status is PaymentStatus.PROCESSING:
            return payment
        command = SettlePayment(payment.payment_id, outcome)
        try:
            async with self._database.transaction() as uow:
                now = datetime.now(UTC)
                settled = await settle_payment(command, uow, codes=self._codes, now=now)
        except PaymentFinal as error:
            if isinstance(outcome, Captured):
                _log.error(
                    "captured money backs no order",
                    order_id=payment.order_id,
                    payment_id=payment.payment_id,
                    problem=str(error),
                )
            raise
        _log.info(
            "payment settled",
            order_id=payment.order_id,
            payment_id=payment.payment_id,
            payment_status=settled.payment.status,
        )
        if settled.surplus:
            _log.error(
                "captured money backs no order",
                order_id=payment.order_id,
                payment_id=payment.payment_id,
            )
        return settled.payment


class Reconciler:
    """Asks the provider about payments that have waited too long for their outcome."""

    def __init__(self, database: Database, charging: Charging, after_seconds: float) -> None:
        self._database, self._charging = database, charging
        self._after = timedelta(seconds=after_seconds)

    async def reconcile(self) -> None:
        """One round; a payment that fails to settle doesn't keep the others waiting."""
        async with self._database.reading() as uow:
            waiting = await uow.payments.open_since(self._after, limit=100)
        for payment in waiting:
            try:
                await self._charging.resume(payment)
            except Exception as error:  # noqa: BLE001  the next round tries it again
                _log.warning(
                    "payment not settled",
                    payment_id=payment.payment_id,
                    order_id=payment.order_id,
                    error=describe(error),
                )
