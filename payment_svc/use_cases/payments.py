"""Paying: attempts and their outcomes."""

from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.payments import Outcome, Payment, PaymentInProgress, PaymentStatus
from payment_svc.domain.refunds import Refund
from payment_svc.use_cases.ports import AccessCodeFactory, UnitOfWork


@dataclass(frozen=True, slots=True)
class CreatePayment:
    """Somebody wants to pay an order; `customer` if that may only be this customer's."""

    payment_id: str
    order_id: str
    amount: Money | None
    payment_method: str
    customer: str | None
    caller: str
    request_id: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class SettlePayment:
    """The provider told how a payment stands; `refund_id` is for money that backs no order."""

    payment_id: str
    order_id: str
    outcome: Outcome
    refund_id: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A payment after the provider's word, and the refund of money that backs no order, if new."""

    payment: Payment
    surplus: Refund | None = None


async def create_payment(command: CreatePayment, uow: UnitOfWork, *, now: datetime) -> Payment:
    """The payment that the call began before, or a new one, PENDING.

    Raises OrderNotFound, OrderNotPayable, AmountMismatch, PaymentInProgress.
    """
    if begun := await uow.payments.find_by_request(command.caller, command.request_id):
        return begun
    order = await uow.orders.get(command.order_id)
    order.check_visible(command.customer)
    order.check_payable(command.amount, now)
    if other := await uow.payments.find_open(order.order_id):
        raise PaymentInProgress(other.payment_id, other.status, "paid by another")
    payment = Payment(
        payment_id=command.payment_id,
        order_id=order.order_id,
        amount=order.price,
        payment_method=command.payment_method,
        caller=command.caller,
        request_id=command.request_id,
        request_hash=command.request_hash,
        created_at=now,
        updated_at=now,
    )
    await uow.payments.save(payment)
    return payment


async def submit_payment(payment_id: str, uow: UnitOfWork, *, now: datetime) -> Payment:
    """Notes that the provider is going to be asked. Raises PaymentNotFound, PaymentFinal."""
    payment = await uow.payments.get(payment_id)
    payment.ask(now)
    await uow.payments.save(payment)
    return payment


async def settle_payment(
    command: SettlePayment, uow: UnitOfWork, *, codes: AccessCodeFactory, now: datetime
) -> Settled:
    """Records the outcome; if money was captured, the order is paid and its code issued.

    Money that doesn't back the order is given back. Raises OrderNotFound, PaymentNotFound,
    PaymentNotSubmitted, PaymentFinal, CurrencyCaptured.
    """
    order = await uow.orders.get(command.order_id)
    payment = await uow.payments.get(command.payment_id)
    captured = payment.record(command.outcome, now)
    await uow.payments.save(payment)
    if captured is None:
        return Settled(payment)
    if _pays(payment, order):
        await _complete(order, payment, uow, codes=codes, now=now)
        return Settled(payment)
    surplus = Refund.of_surplus(
        command.refund_id, order.order_id, payment.payment_id, captured, now
    )
    await uow.refunds.save(surplus)
    return Settled(payment, surplus)


def _pays(payment: Payment, order: Order) -> bool:
    """Whether money that was captured just now backs the order."""
    waits = order.status is OrderStatus.PENDING_PAYMENT
    return waits and payment.status is PaymentStatus.SUCCEEDED


async def _complete(
    order: Order, payment: Payment, uow: UnitOfWork, *, codes: AccessCodeFactory, now: datetime
) -> None:
    product = (await uow.catalogue()).quote(order.product_id, None)
    code = AccessCode(
        id=codes.new_id(),
        code=codes.new_code(),
        order_id=order.order_id,
        product_id=order.product_id,
        expire_at=now + product.validity,
        issued_at=now,
    )
    code.record_issue()
    order.complete_payment(payment.payment_id, code, now)
    await uow.access_codes.save_many([code])
    await uow.orders.save(order)
