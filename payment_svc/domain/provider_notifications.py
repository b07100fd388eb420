"""ProviderNotification: a webhook of the payment provider. RECEIVED → PROCESSED | QUARANTINED.

Only notifications with a valid signature are stored. A notification that is consistent with the
payment is applied directly; otherwise the provider is queried, and its response decides. One of an
unknown kind, such as a dispute, is QUARANTINED for operators, until one dismisses it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from payment_svc.domain.errors import IllegalTransition
from payment_svc.domain.money import Money
from payment_svc.domain.payments import (
    Captured,
    ChargeNotFound,
    Outcome,
    Payment,
    PaymentStatus,
)


class ProviderNotificationStatus(StrEnum):
    """The state of a notification."""

    RECEIVED = "RECEIVED"
    PROCESSED = "PROCESSED"
    QUARANTINED = "QUARANTINED"


class QuarantineReason(StrEnum):
    """Why a notification was not applied."""

    UNKNOWN_KIND = "UNKNOWN_KIND"
    UNKNOWN_PAYMENT = "UNKNOWN_PAYMENT"
    ORDER_MISMATCH = "ORDER_MISMATCH"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"
    CONTRADICTS_PROVIDER = "CONTRADICTS_PROVIDER"


class ProviderNotificationNotFound(LookupError):
    """There is no such notification."""


class ProviderNotificationFinal(IllegalTransition):
    """The notification was processed or quarantined before."""

    def __init__(self, notification_id: str, status: ProviderNotificationStatus) -> None:
        super().__init__("notification", notification_id, status, "changed")


class ProviderNotificationNotQuarantined(IllegalTransition):
    """Only a quarantined notification can be dismissed."""

    def __init__(self, notification_id: str, status: ProviderNotificationStatus) -> None:
        super().__init__("notification", notification_id, status, "dismissed")


class ProviderConfirmationNeeded(Exception):
    """The notification is not consistent with the payment: the provider has to be queried."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(f"the outcome of payment {payment.payment_id} needs confirmation")
        self.payment = payment


@dataclass(frozen=True, slots=True)
class Dismissal:
    """An operator has closed the case of a quarantined notification."""

    dismissed_at: datetime
    dismissed_by: str
    dismissal_reason: str


@dataclass(slots=True, kw_only=True)
class ProviderNotification:
    """A notification about a payment. A repeat of the same body is the same notification.

    `kind` is what the provider calls it. One of an unknown kind has no `outcome`; its `payment_id`,
    `order_id` ("" for none) and `amount` are set as far as its body names them.
    """

    provider_notification_id: str
    digest: bytes
    body: bytes
    kind: str
    payment_id: str
    order_id: str
    amount: Money | None
    outcome: Outcome | None
    received_at: datetime
    deliveries: int = 1
    status: ProviderNotificationStatus = ProviderNotificationStatus.RECEIVED
    quarantine_reason: str = ""
    dismissal: Dismissal | None = None

    @property
    def final(self) -> bool:
        """Whether it was processed or quarantined."""
        return self.status is not ProviderNotificationStatus.RECEIVED

    def decide(
        self, payment: Payment | None, confirmed: Outcome | ChargeNotFound | None = None
    ) -> Outcome | None:
        """Sets PROCESSED or QUARANTINED; returns the outcome to settle the payment with, if any.

        `payment` is the payment that the notification names; `confirmed` is the provider's
        response to a query, if it was queried. Raises ProviderConfirmationNeeded,
        ProviderNotificationFinal.
        """
        if self.final:
            raise ProviderNotificationFinal(self.provider_notification_id, self.status)
        self.quarantine_unknown_kind()
        if self.outcome is None:
            return None
        if payment is None or payment.order_id != self.order_id:
            unknown, other = QuarantineReason.UNKNOWN_PAYMENT, QuarantineReason.ORDER_MISMATCH
            self._quarantine(other if payment else unknown)
            return None
        mismatch = self._mismatch(payment)
        if confirmed is None:
            if mismatch or _needs_confirmation(payment, self.outcome):
                raise ProviderConfirmationNeeded(payment)
            confirmed = self.outcome
        if mismatch:
            self._quarantine(mismatch)
        elif self._is_confirmed_by(confirmed) and payment.accepts(confirmed):
            self.status = ProviderNotificationStatus.PROCESSED
        else:
            self._quarantine(QuarantineReason.CONTRADICTS_PROVIDER)
        if isinstance(confirmed, ChargeNotFound) or not payment.accepts(confirmed):
            return None
        return confirmed

    def _mismatch(self, payment: Payment) -> QuarantineReason | None:
        if self.amount is None or self.amount.currency_code != payment.amount.currency_code:
            return QuarantineReason.CURRENCY_MISMATCH
        if self.amount != payment.amount:
            return QuarantineReason.AMOUNT_MISMATCH
        return None

    def _is_confirmed_by(self, confirmed: Outcome | ChargeNotFound) -> bool:
        if isinstance(self.outcome, Captured):
            return confirmed == self.outcome
        return type(confirmed) is type(self.outcome)

    def quarantine_unknown_kind(self) -> None:
        """Sets QUARANTINED if its kind is unknown."""
        if self.outcome is None:
            self._quarantine(QuarantineReason.UNKNOWN_KIND)

    def dismiss(self, dismissal: Dismissal) -> None:
        """An operator closes its case; the first dismissal stays.

        Raises ProviderNotificationNotQuarantined.
        """
        if self.status is not ProviderNotificationStatus.QUARANTINED:
            raise ProviderNotificationNotQuarantined(self.provider_notification_id, self.status)
        self.dismissal = self.dismissal or dismissal

    def _quarantine(self, reason: QuarantineReason) -> None:
        self.status = ProviderNotificationStatus.QUARANTINED
        self.quarantine_reason = reason


def _needs_confirmation(payment: Payment, outcome: Outcome) -> bool:
    # A PENDING payment was not submitted, so that no outcome of it is expected.
    return payment.status is PaymentStatus.PENDING or payment.contradicts(outcome)
