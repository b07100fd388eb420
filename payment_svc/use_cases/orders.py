"""Ordering, and giving an order up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from payment_svc.domain.money import Money
from payment_svc.domain.orders import TIME_TO_PAY, Order, Recipient
from payment_svc.domain.payments import PaymentInProgress
from payment_svc.use_cases.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class CreateOrder:
    """A customer orders an interview."""

    order_id: str
    customer_id: str
    product_id: str
    expected_price: Money | None
    recipient: Recipient
    time_to_pay: timedelta = TIME_TO_PAY


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Somebody doesn't want an order; `customer` if that may only be this customer's."""

    order_id: str
    customer: str | None


async def create_order(command: CreateOrder, uow: UnitOfWork, *, now: datetime) -> Order:
    """Raises ProductNotFound, CurrencyNotSupported, PriceMismatch."""
    product = (await uow.catalogue()).quote(command.product_id, command.expected_price)
    order = Order.place(
        command.order_id,
        command.customer_id,
        product,
        command.recipient,
        now,
        command.time_to_pay,
    )
    await uow.orders.save(order)
    return order


async def cancel_order(command: CancelOrder, uow: UnitOfWork, *, now: datetime) -> Order:
    """Raises OrderNotFound, OrderNotCancellable, PaymentInProgress."""
    order = await uow.orders.get(command.order_id)
    order.check_visible(command.customer)
    await _check_closed(order, uow, "cancelled")
    order.cancel(now)
    await uow.orders.save(order)
    return order


async def expire_order(order_id: str, uow: UnitOfWork, *, now: datetime) -> Order:
    """Raises OrderNotFound, OrderNotExpirable, PaymentInProgress."""
    order = await uow.orders.get(order_id)
    await _check_closed(order, uow, "expired")
    order.expire(now)
    await uow.orders.save(order)
    return order


async def _check_closed(order: Order, uow: UnitOfWork, step: str) -> None:
    """Under the order's lock no payment begins: once there is none, none can succeed any more."""
    if payment := await uow.payments.find_open(order.order_id):
        raise PaymentInProgress(payment.payment_id, payment.status, step)
