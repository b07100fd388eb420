"""ProviderNotification: what the payment provider told us. RECEIVED → PROCESSED | QUARANTINED.

Its signature was verified before anything in it was believed. One that fits our records is taken
at its word; for one that doesn't, the provider is asked, and its answer counts.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from payment_svc.domain.money import Money
from payment_svc.domain.payments import (
    Captured,
    ChargeNotFound,
    Outcome,
    Payment,
    PaymentStatus,
)


class ProviderNotificationStatus(StrEnum):
    """What became of a notification."""

    RECEIVED = "RECEIVED"
    PROCESSED = "PROCESSED"
    QUARANTINED = "QUARANTINED"


class QuarantineReason(StrEnum):
    """Why a notification is put aside."""

    UNKNOWN_PAYMENT = "UNKNOWN_PAYMENT"
    ORDER_MISMATCH = "ORDER_MISMATCH"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"
    CONTRADICTS_PROVIDER = "CONTRADICTS_PROVIDER"


class ProviderNotificationNotFound(LookupError):
    """There is no such notification."""


class ProviderNotificationDone(Exception):
    """What becomes of the notification is decided."""

    def __init__(self, notification_id: str, status: ProviderNotificationStatus) -> None:
        super().__init__(f"notification {notification_id} is {status}, which can't change any more")
        self.subject = notification_id


class ProviderConfirmationNeeded(Exception):
    """The notification doesn't fit our records: the provider is to be asked."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(f"what became of payment {payment.payment_id} isn't certain")
        self.payment = payment


@dataclass(slots=True, kw_only=True)
class ProviderNotification:
    """What was told about a payment. The same body again is the same notification."""

    payment_notification_id: str
    digest: bytes
    body: bytes
    payment_id: str
    order_id: str
    amount: Money
    outcome: Outcome
    received_at: datetime
    deliveries: int = 1
    status: ProviderNotificationStatus = ProviderNotificationStatus.RECEIVED
    quarantine_reason: str = ""

    @property
    def done(self) -> bool:
        """Whether it is decided what becomes of it."""
        return self.status is not ProviderNotificationStatus.RECEIVED

    def judge(
        self, payment: Payment | None, word: Outcome | ChargeNotFound | None = None
    ) -> Outcome | None:
        """Decides what becomes of it; returns what the payment is to be settled by, if anything.

        `payment` is the one that it names, `word` is what the provider said when it was asked.
        Raises ProviderConfirmationNeeded, ProviderNotificationDone.
        """
        if self.done:
            raise ProviderNotificationDone(self.payment_notification_id, self.status)
        if payment is None or payment.order_id != self.order_id:
            unknown, other = QuarantineReason.UNKNOWN_PAYMENT, QuarantineReason.ORDER_MISMATCH
            self._put_aside(other if payment else unknown)
            return None
        misfit = self._misfit(payment)
        if word is None:
            if misfit or self._is_doubtful(payment):
                raise ProviderConfirmationNeeded(payment)
            word = self.outcome
        if misfit:
            self._put_aside(misfit)
        elif self._is_confirmed_by(word) and payment.takes(word):
            self.status = ProviderNotificationStatus.PROCESSED
        else:
            self._put_aside(QuarantineReason.CONTRADICTS_PROVIDER)
        return word if not isinstance(word, ChargeNotFound) and payment.takes(word) else None

    def _misfit(self, payment: Payment) -> QuarantineReason | None:
        if self.amount.currency_code != payment.amount.currency_code:
            return QuarantineReason.CURRENCY_MISMATCH
        if self.amount != payment.amount:
            return QuarantineReason.AMOUNT_MISMATCH
        return None

    def _is_doubtful(self, payment: Payment) -> bool:
        # Nobody can know the outcome of what was never asked for.
        return payment.status is PaymentStatus.PENDING or payment.contradicts(self.outcome)

    def _is_confirmed_by(self, word: Outcome | ChargeNotFound) -> bool:
        if isinstance(self.outcome, Captured):
            return word == self.outcome
        return type(word) is type(self.outcome)

    def _put_aside(self, reason: QuarantineReason) -> None:
        self.status = ProviderNotificationStatus.QUARANTINED
        self.quarantine_reason = reason
