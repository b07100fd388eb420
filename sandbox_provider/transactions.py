"""What the provider does with money: charges and refunds, as they stand at a moment.

Moments are seconds since 1970. What a charge or refund will become stands in it from the
beginning, as the moment when it happens; so a crash leaves nothing to be done.
"""

from dataclasses import dataclass

from sandbox_provider.methods import behaviour

NEVER = 1e15


class ChargeNotFound(LookupError):
    """There is no charge under this key."""


class RefundNotFound(LookupError):
    """There is no refund under this key."""


class KeyReused(Exception):
    """The key was used for something else."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge: declined if it has a reason for that; else captured from `capture_at` on.

    `captures_minor` is what is captured then. Cancelling it stops that, unless its means of
    payment is a stubborn one.
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
        """A key that was closed before it was used: no charge will ever be made under it."""
        return cls(idempotency_key, charge_id, "", 0, "", "", "", NEVER, 0, now)

    def status(self, now: float) -> str:
        """DECLINED, PROCESSING, CAPTURED or CANCELLED."""
        if self.decline_reason:
            return "DECLINED"
        stopped = self.cancelled_at is not None
        if now >= self.capture_at and (not stopped or behaviour(self.payment_method).stubborn):
            return "CAPTURED"
        return "CANCELLED" if stopped else "PROCESSING"

    def captured_minor(self, now: float) -> int:
        """What was captured so far."""
        return self.captures_minor if self.status(now) == "CAPTURED" else 0

    def is_repeated_by(self, other: "Charge") -> bool:
        """Whether `other` asks for the same. A closed key takes everything, and makes nothing."""
        if not self.payment_method:
            return True
        names = ("order_id", "amount_minor", "currency_code", "payment_method")
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of a charge: refused if it has a reason for that; else paid from `paid_at` on."""

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

    def is_repeated_by(self, charge_key: str, amount_minor: int) -> bool:
        """Whether somebody asks for the same again."""
        return (self.charge_key, self.amount_minor) == (charge_key, amount_minor)


def refusal_reason(charge: Charge, amount_minor: int, promised_minor: int, now: float) -> str:
    """Why a charge can't be refunded by so much, or "".

    `promised_minor` is what its other refunds have paid back, or will.
    """
    if charge.status(now) != "CAPTURED":
        return "CHARGE_NOT_CAPTURED"
    if behaviour(charge.payment_method).refuses_refunds:
        return "REFUND_NOT_ALLOWED"
    if promised_minor + amount_minor > charge.captures_minor:
        return "EXCEEDS_CAPTURED"
    return ""
