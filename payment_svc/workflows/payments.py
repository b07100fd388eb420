"""Attempts to pay: begun, asked of the provider, settled by what it says.

A payment is committed PENDING, then PROCESSING, before the provider is asked, under an id that is
the provider's idempotency key. A crash anywhere leaves a payment without outcome; the caller's
repeat resumes it, and so does the reconciler.
"""

from datetime import UTC, datetime

import structlog

from payment_svc.domain.orders import OrderNotPayable
from payment_svc.domain.payments import (
    Accepted,
    ChargeNotFound,
    Outcome,
    OutcomeUnknown,
    Payment,
    PaymentFinal,
    PaymentMethodUnknown,
    PaymentStatus,
)
from payment_svc.gateways import PaymentGateway
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.payments import (
    CreatePayment,
    Settled,
    SettlePayment,
    create_payment,
    settle_payment,
    submit_payment,
)
from payment_svc.use_cases.ports import AccessCodeFactory
from runtime.database.idempotency import RequestIdReused
from runtime.ids import new_id

_log = structlog.get_logger(__name__)


class ProviderUnavailable(Exception):
    """The payment provider doesn't answer."""


class PaymentWorkflow:
    """Begins payments, asks the provider, settles what it says."""

    def __init__(
        self, database: Database, gateway: PaymentGateway, codes: AccessCodeFactory
    ) -> None:
        self._database, self._gateway, self._codes = database, gateway, codes

    async def pay(self, command: CreatePayment) -> Payment:
        """Makes or resumes the attempt that a call asks for.

        Raises what `create_payment` raises, PaymentMethodUnknown and RequestIdReused.
        """
        if not self._gateway.accepts(command.payment_method):
            raise PaymentMethodUnknown(f"no payment method {command.payment_method}")
        async with self._database.transaction() as uow:
            payment = await create_payment(command, uow, now=datetime.now(UTC))
        if payment.request_hash != command.request_hash:
            raise RequestIdReused(command.request_id)
        return payment if payment.final else await self._charge(payment)

    async def resume(self, payment: Payment) -> None:
        """Settles a payment without outcome: by what the provider knows, or by asking it again.

        A charge that never reached the provider is made now if the order can still be paid: the
        customer asked for it, and the key makes it one charge. Otherwise it is closed there, so
        that a request still on its way can't make it.
        """
        outcome = await self._inquire(payment)
        if not isinstance(outcome, ChargeNotFound):
            await self._settle(payment, outcome)
        elif await self._still_payable(payment.order_id):
            await self._charge(payment)
        else:
            await self.close(payment)

    async def close(self, payment: Payment) -> Payment:
        """Closes a payment at the provider: captured, declined or cancelled, for good.

        Raises ProviderUnavailable if that isn't known.
        """
        try:
            await self._ask(payment)
            outcome = await self._gateway.cancel(payment.payment_id)
            closed = await self._settle(payment, outcome)
        except PaymentFinal:  # settled meanwhile
            return await self._current(payment)
        if not closed.final:
            raise ProviderUnavailable(f"payment {payment.payment_id} could not be closed")
        return closed

    async def inquire(self, payment: Payment) -> Outcome | ChargeNotFound:
        """What the provider says about a payment; raises ProviderUnavailable."""
        outcome = await self._inquire(payment)
        if isinstance(outcome, OutcomeUnknown):
            raise ProviderUnavailable(f"payment {payment.payment_id} could not be looked up")
        return outcome

    async def _inquire(self, payment: Payment) -> Outcome | ChargeNotFound:
        if payment.status is PaymentStatus.PENDING:
            await self._ask(payment)
        return await self._gateway.find(payment.payment_id)

    async def _charge(self, payment: Payment) -> Payment:
        try:
            asked = await self._ask(payment)
            outcome = await self._gateway.charge(asked)
            if isinstance(outcome, Accepted):
                return asked
            return await self._settle(asked, outcome)
        except PaymentFinal:  # settled meanwhile, by a notification or the reconciler
            return await self._current(payment)

    async def _ask(self, payment: Payment) -> Payment:
        async with self._database.transaction() as uow:
            return await submit_payment(payment.payment_id, uow, now=datetime.now(UTC))

    async def _current(self, payment: Payment) -> Payment:
        async with self._database.read_only() as uow:
            return await uow.payments.get(payment.payment_id, lock=False)

    async def _still_payable(self, order_id: str) -> bool:
        async with self._database.read_only() as uow:
            order = await uow.orders.get(order_id, lock=False)
        try:
            order.check_payable(None, datetime.now(UTC))
        except OrderNotPayable:
            return False
        return True

    async def _settle(self, payment: Payment, outcome: Outcome) -> Payment:
        command = SettlePayment(payment.payment_id, payment.order_id, outcome, new_id("ref"))
        async with self._database.transaction() as uow:
            now = datetime.now(UTC)
            settled = await settle_payment(command, uow, codes=self._codes, now=now)
        log_settled(settled)
        return settled.payment


def log_settled(settled: Settled) -> None:
    """Logs the outcome of a payment."""
    payment, refund = settled.payment, settled.surplus
    about = {"order_id": payment.order_id, "payment_id": payment.payment_id}
    _log.info("payment settled", payment_status=payment.status, **about)
    if refund:
        _log.warning("captured money backs no order", refund_id=refund.refund_id, **about)
