"""The port to a payment provider."""

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
    """The notification is signed, and is of a known kind or none, but cannot be parsed."""


@dataclass(frozen=True, slots=True)
class WebhookPayload:
    """The content of a verified notification.

    `kind` is what the provider calls it. One of an unknown kind has no `outcome`, and `payment_id`,
    `order_id` and `amount` only if its body names them in the known form; "" and None otherwise.
    """

    kind: str
    payment_id: str
    order_id: str
    amount: Money | None
    outcome: Outcome | None


class PaymentGateway(Protocol):
    """Charges payment methods and pays refunds.

    The payment's id is the idempotency key of its charge, the refund's id that of its refund. A
    lost response is an outcome: no method raises because the provider is unavailable.
    """

    @property
    def current_error(self) -> str:
        """The error of this process's last request; "" if the provider replied to it."""

    def supports(self, payment_method: str) -> bool:
        """Whether the provider supports a payment method."""

    async def create_charge(self, payment: Payment) -> Outcome:
        """Creates the payment's charge or returns the existing one; or OutcomeUnknown."""

    async def get_charge(self, payment_id: str) -> Outcome | ChargeNotFound:
        """The state of a charge; ChargeNotFound if the provider does not have it."""

    async def cancel_charge(self, payment_id: str) -> Outcome:
        """Closes a charge that is not captured; one that does not exist cannot be created later."""

    async def create_refund(self, refund: Refund) -> RefundOutcome:
        """Creates the refund or returns the existing one; or RefundOutcomeUnknown."""

    def parse_webhook(
        self, body: bytes, headers: Mapping[str, str], now: datetime
    ) -> WebhookPayload:
        """Verifies and parses a notification; raises SignatureInvalid, WebhookMalformed."""
