"""Use cases of orders: create, cancel, expire."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from payment_svc.domain.money import Money
from payment_svc.domain.orders import TIME_TO_PAY, Order
from payment_svc.domain.payment_errors import PaymentInProgress
from payment_svc.domain.recipient import Recipient
from payment_svc.use_cases.ports import Clock, UnitOfWork


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
    """Cancels an order. With `customer_id`, only an order of this customer is visible."""

    order_id: str
    customer_id: str | None


async def create_order(command: CreateOrder, uow: UnitOfWork, *, now: datetime) -> Order:
    """Raises ProductNotFound, CurrencyNotSupported, PriceMismatch."""
    product = (await uow.catalogue()).quote(command.product_id, command.expected_price)
    order = Order.create(
        command.order_id,
        command.customer_id,
        product,
        command.recipient,
        now,
        command.time_to_pay,
    )
    await uow.orders.save(order)
    return order


async def cancel_order(command: CancelOrder, uow: UnitOfWork, *, clock: Clock) -> Order:
    """Raises OrderNotFound, OrderNotCancellable, PaymentInProgress."""
    order = await uow.orders.get(command.order_id)
    order.check_visible(command.customer_id)
    await _check_no_open_payment(order, uow, "cancelled")
    now = clock()
    order.cancel(now)
    await uow.orders.save(order)
    return order


async def expire_order(order_id: str, uow: UnitOfWork, *, clock: Clock) -> Order:
    """Raises OrderNotFound, OrderNotExpirable, PaymentInProgress."""
    order = await uow.orders.get(order_id)
    await _check_no_open_payment(order, uow, "expired")
    now = clock()
    order.expire(now)
    await uow.orders.save(order)
    return order


async def _check_no_open_payment(order: Order, uow: UnitOfWork, action: str) -> None:
    """No payment is created while the order is locked: without an open one, none can succeed."""
    if payment := await uow.payments.find_open(order.order_id):
        raise PaymentInProgress(order.order_id, payment.payment_id, payment.status, action)
