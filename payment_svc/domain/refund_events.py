"""Domain events of refunds. `record` is the order's access code after the change."""

from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.access_code_events import AccessCodeSnapshot
from payment_svc.domain.money import Money
from payment_svc.domain.recipient import Recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequested:
    """A full refund waits for interview's answer; `ask` counts the requests of it from 1."""

    record: AccessCodeSnapshot
    refund_id: str
    ask: int
    requested_at: datetime
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRejected:
    """A full refund was rejected because the interview has started."""

    record: AccessCodeSnapshot
    refund_id: str
    session_id: str
    cause_event_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundCompleted:
    """A refund was paid. `record` is None if the order never had an access code."""

    order_id: str
    record: AccessCodeSnapshot | None
    refund_id: str
    payment_id: str
    amount: Money
    full: bool
    surplus: bool
    customer_id: str
    recipient: Recipient
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFailed:
    """The provider refused permanently. `record` is None if the order never had an access code."""

    order_id: str
    record: AccessCodeSnapshot | None
    refund_id: str
    failure_reason: str
    occurred_at: datetime


RefundEvent = RefundRequested | RefundRejected | RefundCompleted | RefundFailed
