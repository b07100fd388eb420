"""Domain events of payments."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFailed:
    """An attempt to pay an order failed."""

    order_id: str
    payment_id: str
    failure_reason: str
    occurred_at: datetime
