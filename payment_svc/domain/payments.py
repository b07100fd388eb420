"""Payment: one attempt to pay an order.

PENDING → PROCESSING → SUCCEEDED | FAILED | CANCELLED; PROCESSING ↔ UNKNOWN until it tells.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from payment_svc.domain.money import Money


class PaymentStatus(StrEnum):
    """Where a payment stands."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"


FINAL = frozenset({PaymentStatus.SUCCEEDED, PaymentStatus.FAILED, PaymentStatus.CANCELLED})


class PaymentNotFound(LookupError):
    """There is no such payment."""


class PaymentInProgress(Exception):
    """Another attempt to pay the order has no outcome yet."""

    def __init__(self, payment_id: str) -> None:
        super().__init__(f"payment {payment_id} has no outcome yet")
        self.subject = payment_id


class PaymentFinal(Exception):
    """The payment has its outcome; it can't get another."""

    def __init__(self, payment_id: str, status: PaymentStatus) -> None:
        super().__init__(f"payment {payment_id} is {status}")
        self.subject = payment_id


class PaymentMethodUnknown(ValueError):
    """The provider doesn't know this means of payment."""


@dataclass(frozen=True, slots=True)
class Captured:
    """The provider captured the money."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the charge and will tell later."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The provider's answer didn't arrive: the charge may stand or not."""


@dataclass(frozen=True, slots=True)
class NeverReached:
    """The provider never got the charge, and won't any more."""


Outcome = Captured | Declined | Accepted | NoAnswer | NeverReached


@dataclass(slots=True)
class Payment:
    """One attempt to pay. `request` names the call that began it; a repeat finds it again."""

    payment_id: str
    order_id: str
    amount: Money
    payment_method: str
    caller: str
    request_id: str
    request_hash: bytes
    created_at: datetime
    updated_at: datetime
    status: PaymentStatus = PaymentStatus.PENDING
    failure_reason: str = ""

    @property
    def final(self) -> bool:
        """Whether the outcome is known for good."""
        return self.status in FINAL

    def record(self, outcome: Outcome, now: datetime) -> bool:
        """Takes the provider's word; True if it says that money was captured just now.

        The same outcome again changes nothing. Raises PaymentFinal if it contradicts a final one.
        """
        status, reason = _status(outcome)
        if self.final:
            if status in FINAL and status is not self.status:
                raise PaymentFinal(self.payment_id, self.status)
            return False
        if status is not self.status:
            self.status, self.failure_reason, self.updated_at = status, reason, now
        return status is PaymentStatus.SUCCEEDED


def _status(outcome: Outcome) -> tuple[PaymentStatus, str]:
    match outcome:
        case Captured():
            return PaymentStatus.SUCCEEDED, ""
        case Declined(reason):
            return PaymentStatus.FAILED, reason
        case Accepted():
            return PaymentStatus.PROCESSING, ""
        case NoAnswer():
            return PaymentStatus.UNKNOWN, ""
        case NeverReached():
            return PaymentStatus.CANCELLED, ""
