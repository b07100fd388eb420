"""Suppression: an address that gets no mail."""

from dataclasses import dataclass
from datetime import datetime


class SuppressionNotFound(LookupError):
    """The address isn't on the list."""


def normalised(email: str) -> str:
    """An address as it is compared: its domain knows no case, what is before it may."""
    local_part, _, domain = email.strip().rpartition("@")
    return f"{local_part}@{domain.lower()}"


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that gets no mail, normalised, and why."""

    suppression_id: str
    email: str
    reason: str
    created_at: datetime

    @classmethod
    def of(cls, suppression_id: str, email: str, reason: str, now: datetime) -> "Suppression":
        """An entry for an address as somebody wrote it."""
        return cls(suppression_id, normalised(email), reason, now)
