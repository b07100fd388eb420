"""What payment does, one function each. They load, tell an aggregate one verb, and add it back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from payment_svc.domain.access_codes import AccessCode, AccessCodeNotFound
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderStatus, Recipient
from payment_svc.domain.payments import Outcome, Payment, PaymentInProgress
from payment_svc.domain.products import Catalogue


class Orders(Protocol):
    """The orders."""

    async def get(self, order_id: str) -> Order:
        """Locked until the end of the transaction; raises OrderNotFound."""

    async def save(self, order: Order) -> None:
        """Adds or updates."""


class Payments(Protocol):
    """The payments."""

    async def get(self, payment_id: str) -> Payment:
        """Locked until the end of the transaction; raises PaymentNotFound."""

    async def find_by_request(self, caller: str, request_id: str) -> Payment | None:
        """The payment that a call began; calls with the same id wait for each other."""

    async def find_open(self, order_id: str) -> Payment | None:
        """A payment of the order whose outcome isn't known."""

    async def save(self, payment: Payment) -> None:
        """Adds or updates."""


class AccessCodes(Protocol):
    """The access codes."""

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        """Those that exist, by id, locked until the end of the transaction."""

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        """Adds or updates."""


class UnitOfWork(Protocol):
    """What one transaction changes; what the aggregates announce commits with it."""

    @property
    def orders(self) -> Orders: ...

    @property
    def payments(self) -> Payments: ...

    @property
    def access_codes(self) -> AccessCodes: ...

    async def catalogue(self) -> Catalogue: ...


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """A customer orders an interview."""

    order_id: str
    customer_id: str
    product_id: str
    expected_price: Money | None
    recipient: Recipient


@dataclass(frozen=True, slots=True)
class BeginPayment:
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
    """The provider told how a payment stands."""

    payment_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RedeemAccessCode:
    """An interview was started with a code."""

    access_code_id: str
    session_id: str
    started_at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class NewCode:
    """Where new codes come from: their ids and their random symbols."""

    new_id: Callable[[], str]
    new_code: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Settled:
    """A payment after the provider's word. `surplus`: captured just now, and backs no order."""

    payment: Payment
    surplus: bool = False


async def place_order(command: PlaceOrder, uow: UnitOfWork, *, now: datetime) -> Order:
    """Raises ProductNotFound, CurrencyNotSupported, PriceMismatch."""
    product = (await uow.catalogue()).quote(command.product_id, command.expected_price)
    order = Order.place(command.order_id, command.customer_id, product, command.recipient, now)
    await uow.orders.save(order)
    return order


async def begin_payment(command: BeginPayment, uow: UnitOfWork, *, now: datetime) -> Payment:
    """The payment that the call began before, or a new one, PENDING.

    Raises OrderNotFound, OrderNotPayable, AmountMismatch, PaymentInProgress.
    """
    if begun := await uow.payments.find_by_request(command.caller, command.request_id):
        return begun
    order = await uow.orders.get(command.order_id)
    order.check_visible(command.customer)
    order.check_payable(command.amount, now)
    if other := await uow.payments.find_open(order.order_id):
        raise PaymentInProgress(other.payment_id)
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


async def settle_payment(
    command: SettlePayment, uow: UnitOfWork, *, codes: NewCode, now: datetime
) -> Settled:
    """Records the outcome; if money was captured, the order is paid and its code issued.

    Raises PaymentNotFound, PaymentFinal. Money captured for an order that doesn't wait for it
    issues nothing.
    """
    payment = await uow.payments.get(command.payment_id)
    captured = payment.record(command.outcome, now)
    await uow.payments.save(payment)
    if not captured:
        return Settled(payment)
    order = await uow.orders.get(payment.order_id)
    if order.status is not OrderStatus.PENDING_PAYMENT:
        return Settled(payment, surplus=True)
    await _complete(order, payment, uow, codes=codes, now=now)
    return Settled(payment)


async def _complete(
    order: Order, payment: Payment, uow: UnitOfWork, *, codes: NewCode, now: datetime
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


async def redeem_access_codes(
    commands: Sequence[RedeemAccessCode], uow: UnitOfWork, *, now: datetime
) -> None:
    """Raises AccessCodeNotFound, AccessCodeNotRedeemable."""
    codes = await uow.access_codes.get_many([command.access_code_id for command in commands])
    for command in commands:
        if (code := codes.get(command.access_code_id)) is None:
            raise AccessCodeNotFound(command.access_code_id)
        code.redeem(command.session_id, command.started_at, command.event_id, now)
    await uow.access_codes.save_many(list(codes.values()))
