"""What payment wants of a payment provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from payment_svc.domain.money import Money
from payment_svc.domain.payments import ChargeNotFound, Outcome, Payment
from payment_svc.domain.refunds import Refund, RefundOutcome


class SignatureInvalid(Exception):
    """The notification has no valid, current signature of the provider."""


class WebhookMalformed(ValueError):
    """The notification is signed, but can't be read."""


@dataclass(frozen=True, slots=True)
class WebhookPayload:
    """What a verified notification says."""

    payment_id: str
    order_id: str
    amount: Money
    outcome: Outcome


class PaymentGateway(Protocol):
    """Charges means of payment and pays back.

    The payment's id is the idempotency key of its charge, the refund's id that of its refund. No
    call raises if the provider doesn't answer: that is an outcome too.
    """

    def accepts(self, payment_method: str) -> bool:
        """Whether the provider knows this means of payment."""

    async def charge(self, payment: Payment) -> Outcome:
        """Makes the payment's charge, or finds it made; OutcomeUnknown if no word came back."""

    async def find(self, payment_id: str) -> Outcome | ChargeNotFound:
        """How a charge stands; ChargeNotFound if the provider has not got it."""

    async def cancel(self, payment_id: str) -> Outcome:
        """Closes a charge that isn't captured; one that the provider never got, it never will."""

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Makes the refund, or finds it made; RefundOutcomeUnknown if no word came back."""

    def verify(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookPayload:
        """Reads a notification; raises SignatureInvalid, WebhookMalformed."""
