"""Use cases of payments: create, submit to the provider, settle."""

from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import OrderNotFound
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.payment_errors import PaymentInProgress, PaymentNotFound
from payment_svc.domain.payments import Outcome, Payment, PaymentStatus
from payment_svc.domain.refunds import Refund
from payment_svc.use_cases.ports import AccessCodeFactory, Clock, UnitOfWork


@dataclass(frozen=True, slots=True)
class CreatePayment:
    """Pays an order. With `customer_id`, only an order of this customer is visible."""

    payment_id: str
    order_id: str
    amount: Money | None
    payment_method: str
    customer_id: str | None
    caller: str
    request_id: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class SettlePayment:
    """The provider reported an outcome; `refund_id` is for the refund of surplus money."""

    payment_id: str
    order_id: str
    outcome: Outcome
    refund_id: str


@dataclass(frozen=True, slots=True)
class SettledPayment:
    """A settled payment, and the refund of surplus money if one was created."""

    payment: Payment
    surplus: Refund | None = None


async def create_payment(command: CreatePayment, uow: UnitOfWork, *, clock: Clock) -> Payment:
    """A new PENDING payment, or the one that the same request id created before.

    Raises OrderNotFound, OrderNotPayable, AmountMismatch, PaymentInProgress.
    """
    order = (await uow.orders.get_many([command.order_id])).get(command.order_id)
    # After the order is locked: an equal request may have been committed meanwhile.
    existing, other = await uow.payments.find_existing(
        command.order_id, command.caller, command.request_id
    )
    if existing:
        return existing
    if order is None:
        raise OrderNotFound(f"no order {command.order_id}")
    order.check_visible(command.customer_id)
    now = clock()
    order.check_payable(command.amount, now)
    if other:
        raise PaymentInProgress(order.order_id, other.payment_id, other.status, "paid again")
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
    # A concurrent request with the same id may be about another order.
    return await uow.payments.add(payment)


async def submit_payment(payment: Payment, uow: UnitOfWork, *, clock: Clock) -> Payment:
    """Sets PROCESSING before a request to the provider. Raises PaymentNotFound, PaymentFinal.

    It locks nothing and changes one row, so it needs no transaction: a payment that has changed
    since it was read is not saved, but read again.
    """
    current: Payment | None = payment
    while current:
        read = current.status, current.updated_at
        current.submit(clock())
        if await uow.payments.save_if_unchanged(current, *read):
            return current
        current = await uow.payments.find_unlocked(payment.payment_id)
    raise PaymentNotFound(f"no payment {payment.payment_id}")


async def settle_payment(
    command: SettlePayment, uow: UnitOfWork, *, codes: AccessCodeFactory, clock: Clock
) -> SettledPayment:
    """Stores the outcome. Captured money pays the order, whose access code is issued.

    Captured money that does not pay the order is surplus: it is refunded. Raises OrderNotFound,
    PaymentNotFound, PaymentNotSubmitted, PaymentFinal, WrongCurrencyCaptured.
    """
    order = await uow.orders.get(command.order_id)
    payment = await uow.payments.get(command.payment_id)
    now = clock()
    captured = payment.settle(command.outcome, now)
    await uow.payments.save(payment)
    if captured is None:
        return SettledPayment(payment)
    if _pays(payment, order):
        await _complete_payment(order, payment, uow, codes=codes, now=now)
        return SettledPayment(payment)
    surplus = Refund.of_surplus(
        command.refund_id, order.order_id, payment.payment_id, captured, now
    )
    await uow.refunds.save(surplus)
    return SettledPayment(payment, surplus)


def _pays(payment: Payment, order: Order) -> bool:
    """Whether newly captured money pays the order."""
    waits = order.status is OrderStatus.PENDING_PAYMENT
    return waits and payment.status is PaymentStatus.SUCCEEDED


async def _complete_payment(
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
