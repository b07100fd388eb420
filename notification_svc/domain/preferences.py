"""MailPreferences: which mails a customer wants."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailPreferences:
    """Those of a customer who never said anything decline nothing."""

    customer_id: str
    feedback_declined: bool = False
