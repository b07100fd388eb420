"""Suppression: an address to which no mail is sent."""

from dataclasses import dataclass
from datetime import datetime

from shared_model.mail_address import MailAddress, MalformedMailAddress


class SuppressionNotFound(LookupError):
    """The address is not on the suppression list."""


def normalised(email: str) -> str:
    """The form in which addresses are compared; what is no address stays as it is."""
    try:
        return str(MailAddress.parse(email))
    except MalformedMailAddress:
        return email


@dataclass(frozen=True, slots=True)
class Suppression:
    """A suppressed address, normalised, and the reason."""

    suppression_id: str
    email: str
    reason: str
    created_at: datetime

    @classmethod
    def of(cls, suppression_id: str, email: str, reason: str, now: datetime) -> "Suppression":
        """An entry for an address in any spelling."""
        return cls(suppression_id, normalised(email), reason, now)
