"""Order: one interview, ordered. PENDING_PAYMENT → PAID | EXPIRED | CANCELLED.

PAID | PARTIALLY_REFUNDED → REFUND_PENDING, one refund at a time. With none pending, the status
follows from what was refunded: PAID, PARTIALLY_REFUNDED or REFUNDED.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from payment_svc.domain.access_code_events import Holder
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.products import Product

TIME_TO_PAY = timedelta(minutes=30)


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING_PAYMENT = "PENDING_PAYMENT"
    PAID = "PAID"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REFUND_PENDING = "REFUND_PENDING"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"


_REFUNDABLE = frozenset({OrderStatus.PAID, OrderStatus.PARTIALLY_REFUNDED})


class OrderNotFound(LookupError):
    """There is no such order."""


class OrderNotPayable(Exception):
    """The order doesn't wait for a payment."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__(f"order {order_id} is {state}, which can't be paid")
        self.subject = order_id


class OrderNotCancellable(Exception):
    """The order can't be cancelled as it stands."""

    def __init__(self, order_id: str, status: OrderStatus) -> None:
        super().__init__(f"order {order_id} is {status}, which can't be cancelled")
        self.subject = order_id


class OrderNotExpirable(Exception):
    """The order can't expire: it doesn't wait for a payment, or has time left."""

    def __init__(self, order_id: str, status: OrderStatus) -> None:
        super().__init__(f"order {order_id} is {status}, which can't expire now")
        self.subject = order_id


class AmountMismatch(Exception):
    """The amount isn't the order's price."""

    def __init__(self, order_id: str, amount: Money, price: Money) -> None:
        super().__init__(f"order {order_id} costs {price}, not {amount}")
        self.subject = order_id


class AmountNotLeft(AmountMismatch):
    """The amount can't be refunded: another currency, nothing, or more than is left."""

    def __init__(self, order_id: str, amount: Money, left: Money) -> None:
        Exception.__init__(self, f"order {order_id} has {left} left to refund, not {amount}")
        self.subject = order_id


class OrderNotRefundable(Exception):
    """Nothing of the order can be refunded."""

    def __init__(self, order_id: str, status: OrderStatus) -> None:
        super().__init__(f"order {order_id} is {status}, which can't be refunded")
        self.subject = order_id


class RefundInProgress(Exception):
    """Another refund of the order has no outcome yet."""

    def __init__(self, order_id: str) -> None:
        super().__init__(f"order {order_id} is REFUND_PENDING, which can't be refunded meanwhile")
        self.subject = order_id


class NoRefundPending(Exception):
    """The order waits for no refund's outcome."""

    def __init__(self, order_id: str, status: OrderStatus) -> None:
        super().__init__(f"order {order_id} is {status}, which can't end a refund")
        self.subject = order_id


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets the access code."""

    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCompleted:
    """An order was paid and its access code issued."""

    order_id: str
    customer_id: str
    payment_id: str
    access_code_id: str
    access_code: str
    expire_at: datetime
    version: int
    product_id: str
    email: str
    display_name: str
    language_code: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled:
    """An order was cancelled before it was paid."""

    order_id: str
    customer_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExpired:
    """An order was not paid in time: it lapsed at `expired_at`."""

    order_id: str
    customer_id: str
    expired_at: datetime
    occurred_at: datetime


OrderEvent = PaymentCompleted | OrderCancelled | OrderExpired


@dataclass(slots=True)
class Order:
    """One interview, ordered."""

    order_id: str
    customer_id: str
    product_id: str
    price: Money
    recipient: Recipient
    created_at: datetime
    expire_at: datetime
    status: OrderStatus = OrderStatus.PENDING_PAYMENT
    paid_at: datetime | None = None
    access_code_id: str | None = None
    refunded_minor: int = 0
    payment_id: str = ""
    events: list[OrderEvent] = field(default_factory=list, compare=False)

    @classmethod
    def place(
        cls,
        order_id: str,
        customer_id: str,
        product: Product,
        recipient: Recipient,
        now: datetime,
        time_to_pay: timedelta = TIME_TO_PAY,
    ) -> "Order":
        """A new order at the catalogue's price."""
        return cls(
            order_id=order_id,
            customer_id=customer_id,
            product_id=product.product_id,
            price=product.price,
            recipient=recipient,
            created_at=now,
            expire_at=now + time_to_pay,
        )

    def check_visible(self, customer: str | None) -> None:
        """Raises OrderNotFound unless it is this customer's; None may see all."""
        if customer is not None and customer != self.customer_id:
            raise OrderNotFound(f"no order {self.order_id}")

    def check_payable(self, amount: Money | None, now: datetime) -> None:
        """Raises OrderNotPayable or AmountMismatch if a payment may not begin now."""
        if self.status is not OrderStatus.PENDING_PAYMENT:
            raise OrderNotPayable(self.order_id, self.status)
        if now >= self.expire_at:
            raise OrderNotPayable(self.order_id, OrderStatus.EXPIRED)
        if amount is not None and amount != self.price:
            raise AmountMismatch(self.order_id, amount, self.price)

    def complete_payment(self, payment_id: str, code: AccessCode, now: datetime) -> None:
        """The order is paid and `code` is issued for it; raises OrderNotPayable.

        A payment that began in time counts, also if the provider took until after `expire_at`.
        """
        if self.status is not OrderStatus.PENDING_PAYMENT:
            raise OrderNotPayable(self.order_id, self.status)
        self.status, self.paid_at, self.access_code_id = OrderStatus.PAID, now, code.id
        self.payment_id = payment_id
        self.events.append(
            PaymentCompleted(
                order_id=self.order_id,
                customer_id=self.customer_id,
                payment_id=payment_id,
                access_code_id=code.id,
                access_code=code.code,
                expire_at=code.expire_at,
                version=code.version,
                product_id=self.product_id,
                email=self.recipient.email,
                display_name=self.recipient.display_name,
                language_code=self.recipient.language_code,
                occurred_at=now,
            )
        )

    @property
    def refunded(self) -> Money:
        """How much of the price went back."""
        return Money(self.refunded_minor, self.price.currency_code)

    @property
    def left(self) -> Money:
        """How much of the price is still with us."""
        return Money(self.price.amount_minor - self.refunded_minor, self.price.currency_code)

    @property
    def holder(self) -> Holder:
        """Whose access code it is and who gets it."""
        to = self.recipient
        return Holder(self.customer_id, to.email, to.display_name, to.language_code)

    def begin_refund(self, amount: Money | None) -> Money:
        """REFUND_PENDING; returns the amount: all that is left, if none is named.

        Raises RefundInProgress, OrderNotRefundable, AmountNotLeft.
        """
        if self.status is OrderStatus.REFUND_PENDING:
            raise RefundInProgress(self.order_id)
        if self.status not in _REFUNDABLE:
            raise OrderNotRefundable(self.order_id, self.status)
        left, wanted = self.left, amount or self.left
        fits = 0 < wanted.amount_minor <= left.amount_minor
        if not fits or wanted.currency_code != left.currency_code:
            raise AmountNotLeft(self.order_id, wanted, left)
        self.status = OrderStatus.REFUND_PENDING
        return wanted

    def end_refund(self, paid_back_minor: int = 0) -> None:
        """The pending refund has its outcome, and so much went back.

        Raises NoRefundPending, AmountNotLeft.
        """
        if self.status is not OrderStatus.REFUND_PENDING:
            raise NoRefundPending(self.order_id, self.status)
        if not 0 <= paid_back_minor <= self.left.amount_minor:
            paid_back = Money(paid_back_minor, self.price.currency_code)
            raise AmountNotLeft(self.order_id, paid_back, self.left)
        self.refunded_minor += paid_back_minor
        if not self.refunded_minor:
            self.status = OrderStatus.PAID
        elif self.left.amount_minor:
            self.status = OrderStatus.PARTIALLY_REFUNDED
        else:
            self.status = OrderStatus.REFUNDED

    def replace_code(self, code: AccessCode) -> None:
        """`code` is its access code from now on."""
        self.access_code_id = code.id

    def cancel(self, now: datetime) -> None:
        """Nobody will pay it any more; raises OrderNotCancellable, also if the sweeper is late."""
        if self.status is not OrderStatus.PENDING_PAYMENT:
            raise OrderNotCancellable(self.order_id, self.status)
        if now >= self.expire_at:
            raise OrderNotCancellable(self.order_id, OrderStatus.EXPIRED)
        self.status = OrderStatus.CANCELLED
        self.events.append(
            OrderCancelled(order_id=self.order_id, customer_id=self.customer_id, occurred_at=now)
        )

    def expire(self, now: datetime) -> None:
        """Its time to be paid is over; raises OrderNotExpirable."""
        if self.status is not OrderStatus.PENDING_PAYMENT or now < self.expire_at:
            raise OrderNotExpirable(self.order_id, self.status)
        self.status = OrderStatus.EXPIRED
        self.events.append(
            OrderExpired(
                order_id=self.order_id,
                customer_id=self.customer_id,
                expired_at=self.expire_at,
                occurred_at=now,
            )
        )
