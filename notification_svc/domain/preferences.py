"""MailPreferences: the mails that a customer declined."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailPreferences:
    """A customer's preferences; by default nothing is declined."""

    customer_id: str
    feedback_declined: bool = False
