"""MailStatus: the mails that wait and that need an operator."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailStatus:
    """Numbers of mails, and ages in seconds since they were queued; 0 if there are none.

    `oldest_queued_seconds` is of those that are queued or being sent.

    `failed` counts mails that need an operator (see `Notification.needs_operator`) and were neither
    sent again nor dismissed. `last_error` is that of the oldest deferred mail, `last_failure` that
    of the newest of `failed`; "" if there is none.
    """

    queued: int
    sending: int
    deferred: int
    oldest_waiting_seconds: float
    oldest_queued_seconds: float
    oldest_deferred_seconds: float
    failed: int
    oldest_failed_seconds: float
    last_error: str
    last_failure: str
