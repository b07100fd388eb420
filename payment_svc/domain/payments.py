"""Payment: one attempt to pay an order.

PENDING → PROCESSING → SUCCEEDED | FAILED | CANCELLED; PROCESSING ↔ UNKNOWN until the provider
tells. Money captured later than that changes no status: it is recorded, to be given back.
"""

from dataclasses import dataclass, field
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
WRONG_AMOUNT = "WRONG_AMOUNT_CAPTURED"


class PaymentNotFound(LookupError):
    """There is no such payment."""


class PaymentInProgress(Exception):
    """Another attempt to pay the order has no outcome yet."""

    def __init__(self, payment_id: str, status: PaymentStatus, step: str) -> None:
        """`step` is what its order can't be until its outcome is known."""
        super().__init__(f"payment {payment_id} is {status}, its order can't be {step} meanwhile")
        self.subject = payment_id


class PaymentFinal(Exception):
    """The payment has its outcome; it can't get another."""

    def __init__(self, payment_id: str, status: PaymentStatus) -> None:
        super().__init__(f"payment {payment_id} is {status}, which can't change any more")
        self.subject = payment_id


class PaymentNotSubmitted(Exception):
    """The provider has not been asked yet, so it can't have told anything."""

    def __init__(self, payment_id: str) -> None:
        super().__init__(f"payment {payment_id} is PENDING, which can't be settled")
        self.subject = payment_id


class CurrencyCaptured(Exception):
    """The provider captured another currency than it was asked for."""

    def __init__(self, payment_id: str, captured: Money) -> None:
        super().__init__(f"of payment {payment_id}, {captured} were captured")
        self.subject = payment_id


class PaymentMethodUnknown(ValueError):
    """The provider doesn't know this means of payment."""


@dataclass(frozen=True, slots=True)
class Captured:
    """The provider captured so much money."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The provider has closed the charge: it captured nothing, and won't any more."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the charge and will tell later."""


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """The provider's answer didn't arrive: the charge may stand or not."""


@dataclass(frozen=True, slots=True)
class ChargeNotFound:
    """The provider has not got the charge so far."""


Outcome = Captured | Declined | Cancelled | Accepted | OutcomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFailed:
    """An attempt to pay an order failed."""

    order_id: str
    payment_id: str
    failure_reason: str
    occurred_at: datetime


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
    captured: Money | None = None
    events: list[PaymentFailed] = field(default_factory=list, compare=False)

    @property
    def final(self) -> bool:
        """Whether the outcome is known for good."""
        return self.status in FINAL

    def ask(self, now: datetime) -> None:
        """The provider is going to be asked; raises PaymentFinal."""
        if self.final:
            raise PaymentFinal(self.payment_id, self.status)
        self.status, self.updated_at = PaymentStatus.PROCESSING, now

    def contradicts(self, outcome: Outcome) -> bool:
        """Whether what is known for good says otherwise."""
        match outcome:
            case Accepted() | OutcomeUnknown():
                return False
            case Captured(amount):
                return self.final and self.captured != amount
            case Declined() | Cancelled():
                same = self.status is _status(outcome) and self.captured is None
                return self.final and not same

    def takes(self, outcome: Outcome | ChargeNotFound) -> bool:
        """Whether `record` would take it, be it new or known."""
        if self.status is PaymentStatus.PENDING or isinstance(outcome, ChargeNotFound):
            return False
        if self._is_foreign(outcome):
            return False
        return not self.contradicts(outcome) or self._is_captured_late_by(outcome)

    def record(self, outcome: Outcome, now: datetime) -> Money | None:
        """Takes the provider's word; returns the money that it captured, if that is news.

        The same outcome again changes nothing. Raises PaymentNotSubmitted, CurrencyCaptured, and
        PaymentFinal if it contradicts a final one.
        """
        if self.status is PaymentStatus.PENDING:
            raise PaymentNotSubmitted(self.payment_id)
        if isinstance(outcome, Captured) and self._is_foreign(outcome):
            raise CurrencyCaptured(self.payment_id, outcome.amount)
        if not self.takes(outcome):
            raise PaymentFinal(self.payment_id, self.status)
        if not self.final:
            self._settle(outcome, now)
        if not isinstance(outcome, Captured) or self.captured is not None:
            return None
        self.captured, self.updated_at = outcome.amount, now
        return self.captured

    def _settle(self, outcome: Outcome, now: datetime) -> None:
        status, reason = _status(outcome), ""
        if isinstance(outcome, Declined):
            reason = outcome.reason
        elif isinstance(outcome, Captured) and outcome.amount != self.amount:
            status, reason = PaymentStatus.FAILED, WRONG_AMOUNT
        if status is self.status:
            return
        self.status, self.failure_reason, self.updated_at = status, reason, now
        if status is PaymentStatus.FAILED:
            failed = PaymentFailed(
                order_id=self.order_id,
                payment_id=self.payment_id,
                failure_reason=reason,
                occurred_at=now,
            )
            self.events.append(failed)

    def _is_foreign(self, outcome: Outcome) -> bool:
        currency_code = self.amount.currency_code
        return isinstance(outcome, Captured) and outcome.amount.currency_code != currency_code

    def _is_captured_late_by(self, outcome: Outcome) -> bool:
        nothing_yet = self.status is not PaymentStatus.SUCCEEDED and self.captured is None
        return isinstance(outcome, Captured) and nothing_yet


def _status(outcome: Outcome) -> PaymentStatus:
    match outcome:
        case Captured():
            return PaymentStatus.SUCCEEDED
        case Declined():
            return PaymentStatus.FAILED
        case Cancelled():
            return PaymentStatus.CANCELLED
        case Accepted():
            return PaymentStatus.PROCESSING
        case OutcomeUnknown():
            return PaymentStatus.UNKNOWN
