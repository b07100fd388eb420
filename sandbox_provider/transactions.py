"""Charges and refunds, and their status at a point in time.

Times are seconds since 1970. A charge or refund stores from the beginning when and how it will be
decided. Its status follows from the current time alone, so a crash leaves no work behind.
"""

from dataclasses import dataclass

from sandbox_provider.methods import payment_method

NEVER = 1e15


class ChargeNotFound(LookupError):
    """There is no charge with this idempotency key."""


class RefundNotFound(LookupError):
    """There is no refund with this idempotency key."""


class KeyReused(Exception):
    """The idempotency key was used for a request with other parameters."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge: declined if it has a decline reason, else captured from `capture_at` on.

    `captures_minor` is the amount captured at that time. A cancellation prevents the capture,
    unless the payment method ignores cancellations.
    """

    idempotency_key: str
    charge_id: str
    order_id: str
    amount_minor: int
    currency_code: str
    payment_method: str
    decline_reason: str
    capture_at: float
    captures_minor: int
    cancelled_at: float | None = None

    @classmethod
    def tombstone(cls, idempotency_key: str, charge_id: str, now: float) -> "Charge":
        """Marks a key that was cancelled before a charge used it, so that none ever will."""
        return cls(idempotency_key, charge_id, "", 0, "", "", "", NEVER, 0, now)

    def status(self, now: float) -> str:
        """DECLINED, PROCESSING, CAPTURED or CANCELLED."""
        if self.decline_reason:
            return "DECLINED"
        cancelled = self.cancelled_at is not None
        ignores_cancellation = payment_method(self.payment_method).ignores_cancellation
        if now >= self.capture_at and (not cancelled or ignores_cancellation):
            return "CAPTURED"
        return "CANCELLED" if cancelled else "PROCESSING"

    def captured_minor(self, now: float) -> int:
        """The captured amount; 0 unless CAPTURED."""
        return self.captures_minor if self.status(now) == "CAPTURED" else 0

    def is_same_request(self, other: "Charge") -> bool:
        """Whether `other` has the same parameters. A tombstone accepts all."""
        if not self.payment_method:
            return True
        names = ("order_id", "amount_minor", "currency_code", "payment_method")
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of a charge: refused if it has a refusal reason, else paid from `paid_at` on."""

    idempotency_key: str
    provider_refund_id: str
    charge_key: str
    amount_minor: int
    refusal_reason: str
    paid_at: float

    def status(self, now: float) -> str:
        """REFUSED, PROCESSING or SUCCEEDED."""
        if self.refusal_reason:
            return "REFUSED"
        return "PROCESSING" if now < self.paid_at else "SUCCEEDED"

    def is_same_request(self, charge_key: str, amount_minor: int) -> bool:
        """Whether the parameters are those of this refund."""
        return (self.charge_key, self.amount_minor) == (charge_key, amount_minor)


def refusal_reason(charge: Charge, amount_minor: int, refunded_minor: int, now: float) -> str:
    """Why the charge cannot be refunded by this amount; "" if it can.

    `refunded_minor` is the sum of its other refunds, including those not paid yet.
    """
    if charge.status(now) != "CAPTURED":
        return "CHARGE_NOT_CAPTURED"
    if payment_method(charge.payment_method).refuses_refunds:
        return "REFUND_NOT_ALLOWED"
    if refunded_minor + amount_minor > charge.captures_minor:
        return "EXCEEDS_CAPTURED"
    return ""
