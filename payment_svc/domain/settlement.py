"""SettlementStatus: what of the money is not settled, as operators see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Payments or refunds without a final outcome; ages are seconds since creation, 0 if none.

    `unknown` are those whose provider's reply was lost, `overdue` those that need an operator.
    """

    count: int = 0
    oldest_seconds: float = 0.0
    unknown: int = 0
    oldest_unknown_seconds: float = 0.0
    overdue: int = 0


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Quarantined notifications that need an operator; the age is in seconds, 0 if none."""

    count: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SettlementStatus:
    """A full refund waits for interview's reply first, then for the provider as all others do."""

    payments: Unsettled
    refunds_waiting_for_interview: Unsettled
    refunds_waiting_for_provider: Unsettled
    notifications: Unresolved

    @property
    def has_lost_replies(self) -> bool:
        """Whether the provider's reply about anything was lost, in whichever process."""
        return bool(self.payments.unknown or self.refunds_waiting_for_provider.unknown)
