"""Order: the purchase of one interview. PENDING_PAYMENT → PAID | EXPIRED | CANCELLED.

PAID | PARTIALLY_REFUNDED → REFUND_PENDING, one refund at a time. Without a pending refund, the
status follows from the refunded amount: PAID, PARTIALLY_REFUNDED or REFUNDED.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import (
    AmountMismatch,
    AmountNotRefundable,
    NoRefundPending,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotFound,
    OrderNotPayable,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.order_events import (
    OrderCancelled,
    OrderEvent,
    OrderExpired,
    PaymentCompleted,
)
from payment_svc.domain.products import Product
from payment_svc.domain.recipient import Recipient

TIME_TO_PAY = timedelta(minutes=30)


class OrderStatus(StrEnum):
    """The state of an order."""

    PENDING_PAYMENT = "PENDING_PAYMENT"
    PAID = "PAID"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REFUND_PENDING = "REFUND_PENDING"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"


_REFUNDABLE = frozenset({OrderStatus.PAID, OrderStatus.PARTIALLY_REFUNDED})


@dataclass(slots=True)
class Order:
    """The purchase of one interview."""

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
    def create(
        cls,
        order_id: str,
        customer_id: str,
        product: Product,
        recipient: Recipient,
        now: datetime,
        time_to_pay: timedelta = TIME_TO_PAY,
    ) -> "Order":
        """A new order at the catalogue's price; it expires unless it is paid in time."""
        return cls(
            order_id=order_id,
            customer_id=customer_id,
            product_id=product.product_id,
            price=product.price,
            recipient=recipient,
            created_at=now,
            expire_at=now + time_to_pay,
        )

    def check_visible(self, customer_id: str | None) -> None:
        """Raises OrderNotFound unless the order is this customer's; None may see all orders."""
        if customer_id is not None and customer_id != self.customer_id:
            raise OrderNotFound(f"no order {self.order_id}")

    def check_payable(self, amount: Money | None, now: datetime) -> None:
        """Raises OrderNotPayable or AmountMismatch if no payment may be created now."""
        if self.status is not OrderStatus.PENDING_PAYMENT:
            raise OrderNotPayable(self.order_id, self.status)
        if now >= self.expire_at:
            raise OrderNotPayable(self.order_id, OrderStatus.EXPIRED)
        if amount is not None and amount != self.price:
            raise AmountMismatch(self.order_id, amount, self.price)

    def complete_payment(self, payment_id: str, code: AccessCode, now: datetime) -> None:
        """Marks the order PAID, with `code` as its access code; raises OrderNotPayable.

        A payment that was created before `expire_at` counts even if it is captured later.
        """
        if self.status is not OrderStatus.PENDING_PAYMENT:
            raise OrderNotPayable(self.order_id, self.status)
        self.status, self.paid_at, self.access_code_id = OrderStatus.PAID, now, code.id
        self.payment_id = payment_id
        self.events.append(
            PaymentCompleted(
                order_id=self.order_id,
                customer_id=self.customer_id,
                recipient=self.recipient,
                payment_id=payment_id,
                access_code_id=code.id,
                access_code=code.code,
                expire_at=code.expire_at,
                version=code.version,
                product_id=self.product_id,
                occurred_at=now,
            )
        )

    @property
    def refunded(self) -> Money:
        """The refunded part of the price."""
        return Money(self.refunded_minor, self.price.currency_code)

    @property
    def refundable(self) -> Money:
        """The part of the price that was not refunded."""
        return Money(self.price.amount_minor - self.refunded_minor, self.price.currency_code)

    def begin_refund(self, amount: Money | None) -> Money:
        """Sets REFUND_PENDING; returns the amount, which is all that is refundable by default.

        Raises RefundInProgress, OrderNotRefundable, AmountNotRefundable.
        """
        if self.status is OrderStatus.REFUND_PENDING:
            raise RefundInProgress(self.order_id, self.status)
        if self.status not in _REFUNDABLE:
            raise OrderNotRefundable(self.order_id, self.status)
        refundable = self.refundable
        amount = amount or refundable
        fits = 0 < amount.amount_minor <= refundable.amount_minor
        if not fits or amount.currency_code != refundable.currency_code:
            raise AmountNotRefundable(self.order_id, amount, refundable)
        self.status = OrderStatus.REFUND_PENDING
        return amount

    def end_refund(self, refunded_minor: int = 0) -> None:
        """Ends the pending refund, of which `refunded_minor` was paid.

        Raises NoRefundPending, AmountNotRefundable.
        """
        if self.status is not OrderStatus.REFUND_PENDING:
            raise NoRefundPending(self.order_id, self.status)
        if not 0 <= refunded_minor <= self.refundable.amount_minor:
            amount = Money(refunded_minor, self.price.currency_code)
            raise AmountNotRefundable(self.order_id, amount, self.refundable)
        self.refunded_minor += refunded_minor
        if not self.refunded_minor:
            self.status = OrderStatus.PAID
        elif self.refundable.amount_minor:
            self.status = OrderStatus.PARTIALLY_REFUNDED
        else:
            self.status = OrderStatus.REFUNDED

    def replace_code(self, code: AccessCode) -> None:
        """Makes `code` the order's current access code."""
        self.access_code_id = code.id

    def cancel(self, now: datetime) -> None:
        """Cancels an unpaid order; raises OrderNotCancellable, also after `expire_at`."""
        if self.status is not OrderStatus.PENDING_PAYMENT:
            raise OrderNotCancellable(self.order_id, self.status)
        if now >= self.expire_at:
            raise OrderNotCancellable(self.order_id, OrderStatus.EXPIRED)
        self.status = OrderStatus.CANCELLED
        self.events.append(
            OrderCancelled(order_id=self.order_id, customer_id=self.customer_id, occurred_at=now)
        )

    def expire(self, now: datetime) -> None:
        """Expires an order that was not paid before `expire_at`; raises OrderNotExpirable."""
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
