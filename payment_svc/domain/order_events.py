"""Domain events of orders."""

from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.recipient import Recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCompleted:
    """An order was paid and its access code issued."""

    order_id: str
    customer_id: str
    recipient: Recipient
    payment_id: str
    access_code_id: str
    access_code: str
    expire_at: datetime
    version: int
    product_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled:
    """An order was cancelled before it was paid."""

    order_id: str
    customer_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExpired:
    """An order was not paid before `expired_at`."""

    order_id: str
    customer_id: str
    expired_at: datetime
    occurred_at: datetime


OrderEvent = PaymentCompleted | OrderCancelled | OrderExpired
