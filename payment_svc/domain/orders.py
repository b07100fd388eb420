"""Order: one interview, ordered. PENDING_PAYMENT → PAID | EXPIRED | CANCELLED."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

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


class OrderNotFound(LookupError):
    """There is no such order."""


class OrderNotPayable(Exception):
    """The order doesn't wait for a payment."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__(f"order {order_id} is {state}, which can't be paid")
        self.subject = order_id


class AmountMismatch(Exception):
    """The amount isn't the order's price."""

    def __init__(self, order_id: str, amount: Money, price: Money) -> None:
        super().__init__(f"order {order_id} costs {price}, not {amount}")
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
    events: list[PaymentCompleted] = field(default_factory=list, compare=False)

    @classmethod
    def place(
        cls, order_id: str, customer_id: str, product: Product, recipient: Recipient, now: datetime
    ) -> "Order":
        """A new order at the catalogue's price."""
        return cls(
            order_id=order_id,
            customer_id=customer_id,
            product_id=product.product_id,
            price=product.price,
            recipient=recipient,
            created_at=now,
            expire_at=now + TIME_TO_PAY,
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
