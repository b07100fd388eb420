"""Creates payments, submits them to the provider, and settles them with its outcome.

A payment is committed as PENDING, then as PROCESSING, before the provider is called; its id is the
provider's idempotency key. A crash at any point leaves a payment without outcome, which a repeat
of the request or the reconciliation resumes.
"""

import structlog

from payment_svc.domain.order_errors import OrderNotPayable
from payment_svc.domain.payment_errors import PaymentFinal, PaymentMethodUnknown
from payment_svc.domain.payments import (
    Accepted,
    ChargeNotFound,
    Outcome,
    OutcomeUnknown,
    Payment,
    PaymentStatus,
)
from payment_svc.gateways import PaymentGateway
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.payments import (
    CreatePayment,
    SettledPayment,
    SettlePayment,
    create_payment,
    settle_payment,
    submit_payment,
)
from payment_svc.use_cases.ports import AccessCodeFactory
from runtime.clock import utc_now
from runtime.database.idempotency import RequestIdReused
from runtime.ids import new_id

_log = structlog.get_logger(__name__)


class ProviderUnavailable(Exception):
    """The payment provider does not respond."""


class PaymentWorkflow:
    """Creates, resumes, closes and queries payments."""

    def __init__(
        self, database: Database, gateway: PaymentGateway, codes: AccessCodeFactory
    ) -> None:
        self._database, self._gateway, self._codes = database, gateway, codes

    async def create(self, command: CreatePayment) -> Payment:
        """Creates the payment of a request, or resumes it if the request is a repeat.

        Raises what `create_payment` raises, PaymentMethodUnknown and RequestIdReused.
        """
        if not self._gateway.supports(command.payment_method):
            raise PaymentMethodUnknown(f"no payment method {command.payment_method}")
        async with self._database.transaction() as uow:
            payment = await create_payment(command, uow, clock=utc_now)
        if payment.request_hash != command.request_hash:
            raise RequestIdReused(command.request_id)
        if payment.final:
            return payment
        if payment.payment_id == command.payment_id:
            return await self._charge(payment)
        try:
            return await self.resume(payment)
        except ProviderUnavailable:
            return await self._reload(payment)

    async def resume(self, payment: Payment) -> Payment:
        """Settles an open payment with the provider's outcome: queried first, then charged.

        A charge that the provider does not have is created now if the order can still be paid: the
        customer requested it, and the idempotency key prevents a second charge. Otherwise it is
        closed at the provider, so that a delayed request cannot create it later. Raises
        ProviderUnavailable if it cannot be closed.
        """
        try:
            outcome = await self._query(payment)
            if not isinstance(outcome, ChargeNotFound):
                return await self._settle(payment, outcome)
        except PaymentFinal:  # settled meanwhile
            return await self._reload(payment)
        if await self._is_payable(payment.order_id):
            return await self._charge(payment)
        return await self.close(payment)

    async def close(self, payment: Payment) -> Payment:
        """Closes a payment at the provider; returns it with a final outcome.

        Raises ProviderUnavailable if the outcome is not final.
        """
        try:
            await self._submit(payment)
            outcome = await self._gateway.cancel_charge(payment.payment_id)
            closed = await self._settle(payment, outcome)
        except PaymentFinal:  # settled meanwhile
            return await self._reload(payment)
        if not closed.final:
            raise ProviderUnavailable(f"payment {payment.payment_id} could not be closed")
        return closed

    async def query(self, payment: Payment) -> Outcome | ChargeNotFound:
        """The provider's outcome of a payment; raises ProviderUnavailable."""
        outcome = await self._query(payment)
        if isinstance(outcome, OutcomeUnknown):
            raise ProviderUnavailable(f"payment {payment.payment_id} could not be queried")
        return outcome

    async def _query(self, payment: Payment) -> Outcome | ChargeNotFound:
        if payment.status is PaymentStatus.PENDING:
            await self._submit(payment)
        return await self._gateway.get_charge(payment.payment_id)

    async def _charge(self, payment: Payment) -> Payment:
        try:
            submitted = await self._submit(payment)
            outcome = await self._gateway.create_charge(submitted)
            if isinstance(outcome, Accepted):
                return submitted
            return await self._settle(submitted, outcome)
        except PaymentFinal:  # settled meanwhile, by a notification or the reconciliation
            return await self._reload(payment)

    async def _submit(self, payment: Payment) -> Payment:
        async with self._database.single_statements() as uow:
            return await submit_payment(payment, uow, clock=utc_now)

    async def _reload(self, payment: Payment) -> Payment:
        async with self._database.read_only() as uow:
            return await uow.payments.get(payment.payment_id, lock=False)

    async def _is_payable(self, order_id: str) -> bool:
        async with self._database.read_only() as uow:
            order = await uow.orders.get(order_id, lock=False)
        try:
            order.check_payable(None, utc_now())
        except OrderNotPayable:
            return False
        return True

    async def _settle(self, payment: Payment, outcome: Outcome) -> Payment:
        command = SettlePayment(payment.payment_id, payment.order_id, outcome, new_id("ref"))
        async with self._database.transaction() as uow:
            settled = await settle_payment(command, uow, codes=self._codes, clock=utc_now)
        log_settled(settled, outcome)
        return settled.payment


def log_settled(settled: SettledPayment, outcome: Outcome | None) -> None:
    """Logs a payment after an outcome, if any, was applied to it, which need not be final."""
    payment, surplus = settled.payment, settled.surplus
    ids = {"order_id": payment.order_id, "payment_id": payment.payment_id}
    if payment.final:
        _log.info("payment settled", payment_status=payment.status, **ids)
    elif isinstance(outcome, OutcomeUnknown):
        _log.warning("payment outcome unknown", cause=outcome.cause, **ids)
    else:
        _log.info("payment not settled yet", payment_status=payment.status, **ids)
    if surplus:
        _log.warning("surplus money captured", refund_id=surplus.refund_id, **ids)
