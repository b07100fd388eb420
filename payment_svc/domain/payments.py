"""Payment: one attempt to pay an order.

PENDING → PROCESSING → SUCCEEDED | FAILED | CANCELLED; PROCESSING ↔ UNKNOWN until the provider
reports an outcome. Money captured after a final outcome does not change the status: it is recorded
and refunded.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from payment_svc.domain.money import Money
from payment_svc.domain.payment_errors import (
    PaymentFinal,
    PaymentNotSubmitted,
    WrongCurrencyCaptured,
)
from payment_svc.domain.payment_events import PaymentFailed


class PaymentStatus(StrEnum):
    """The state of a payment."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"


FINAL = frozenset({PaymentStatus.SUCCEEDED, PaymentStatus.FAILED, PaymentStatus.CANCELLED})
WRONG_AMOUNT = "WRONG_AMOUNT_CAPTURED"


@dataclass(frozen=True, slots=True)
class Captured:
    """The provider captured this amount."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider declined the charge."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The provider closed the charge: nothing was captured, and nothing will be."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the charge and reports its outcome later."""


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """The provider's response was lost: the charge may exist or not. `cause` is for people."""

    cause: str = ""


@dataclass(frozen=True, slots=True)
class ChargeNotFound:
    """The provider has no such charge so far."""


Outcome = Captured | Declined | Cancelled | Accepted | OutcomeUnknown


@dataclass(slots=True)
class Payment:
    """One attempt to pay. A repeat of the request that created it finds it by `request_id`."""

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
        """Whether the outcome is final."""
        return self.status in FINAL

    def submit(self, now: datetime) -> None:
        """Sets PROCESSING before a request to the provider; raises PaymentFinal."""
        if self.final:
            raise PaymentFinal(self.payment_id, self.status)
        self.status, self.updated_at = PaymentStatus.PROCESSING, now

    def contradicts(self, outcome: Outcome) -> bool:
        """Whether a final outcome differs from this one."""
        match outcome:
            case Accepted() | OutcomeUnknown():
                return False
            case Captured(amount):
                return self.final and self.captured != amount
            case Declined() | Cancelled():
                same = self.status is _status_of(outcome) and self.captured is None
                return self.final and not same

    def accepts(self, outcome: Outcome | ChargeNotFound) -> bool:
        """Whether `settle` accepts the outcome, whether new or repeated."""
        if self.status is PaymentStatus.PENDING or isinstance(outcome, ChargeNotFound):
            return False
        if self._has_wrong_currency(outcome):
            return False
        return not self.contradicts(outcome) or self._is_late_capture(outcome)

    def settle(self, outcome: Outcome, now: datetime) -> Money | None:
        """Applies the provider's outcome; returns the captured money if it was not known before.

        A repeat of the same outcome changes nothing. Raises PaymentNotSubmitted,
        WrongCurrencyCaptured, and PaymentFinal if the outcome contradicts a final one.
        """
        if self.status is PaymentStatus.PENDING:
            raise PaymentNotSubmitted(self.payment_id)
        if isinstance(outcome, Captured) and self._has_wrong_currency(outcome):
            raise WrongCurrencyCaptured(self.payment_id, outcome.amount)
        if not self.accepts(outcome):
            raise PaymentFinal(self.payment_id, self.status)
        if not self.final:
            self._set_status(outcome, now)
        if not isinstance(outcome, Captured) or self.captured is not None:
            return None
        self.captured, self.updated_at = outcome.amount, now
        return self.captured

    def _set_status(self, outcome: Outcome, now: datetime) -> None:
        status, reason = _status_of(outcome), ""
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

    def _has_wrong_currency(self, outcome: Outcome) -> bool:
        currency_code = self.amount.currency_code
        return isinstance(outcome, Captured) and outcome.amount.currency_code != currency_code

    def _is_late_capture(self, outcome: Outcome) -> bool:
        without_capture = self.status is not PaymentStatus.SUCCEEDED and self.captured is None
        return isinstance(outcome, Captured) and without_capture


def _status_of(outcome: Outcome) -> PaymentStatus:
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
