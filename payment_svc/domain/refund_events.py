"""What becomes known of a refund. `record` is the order's access code after the change."""

from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.access_code_events import Holder
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequested:
    """A full refund waits for interview's word."""

    record: AccessCode
    refund_id: str
    ask: int
    requested_at: datetime
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRejected:
    """A full refund was refused since the interview has started."""

    record: AccessCode
    refund_id: str
    session_id: str
    cause_event_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundCompleted:
    """Money went back. No `record` if the order never had a code."""

    order_id: str
    record: AccessCode | None
    refund_id: str
    payment_id: str
    amount: Money
    full: bool
    surplus: bool
    holder: Holder
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFailed:
    """The provider definitely refused. No `record` if the order never had a code."""

    order_id: str
    record: AccessCode | None
    refund_id: str
    failure_reason: str
    occurred_at: datetime


RefundEvent = RefundRequested | RefundRejected | RefundCompleted | RefundFailed
