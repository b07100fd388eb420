"""Notification: one mail to one person about one event.

QUEUED → SENDING → SENT; SENDING ↔ DEFERRED; → FAILED | SUPPRESSED.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

_LONGEST_ERROR = 500


class NotificationStatus(StrEnum):
    """Where a notification stands."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    SENT = "SENT"
    DEFERRED = "DEFERRED"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"


class NotificationNotFound(LookupError):
    """There is no such notification."""


class NotificationNotDue(Exception):
    """The notification isn't to be sent now."""


class ClaimLost(Exception):
    """The notification is no longer in the hands of this attempt."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The mail server took the mail."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """The mail server couldn't be reached, didn't answer, or asked to try later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The mail server will never take this mail."""

    reason: str


Outcome = Accepted | Deferred | Refused


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a mail goes to, and in which language."""

    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """What the mail tells: the access code, what it opens and until when."""

    access_code_id: str
    access_code: str
    version: int
    product_id: str
    expire_at: datetime


@dataclass(slots=True, kw_only=True)
class Notification:
    """One mail to one person about one event.

    `due_at` is when somebody has to look at it again: when it is tried next or, while SENDING, when
    the claim of the process that sends it runs out. None once nothing is left to do.
    """

    notification_id: str
    order_id: str
    customer_id: str
    event_id: str
    event_type: str
    recipient: Recipient
    issued: IssuedCode
    message_id: str
    created_at: datetime
    due_at: datetime | None
    status: NotificationStatus = NotificationStatus.QUEUED
    attempts: int = 0
    last_error: str = ""
    sent_at: datetime | None = None

    @property
    def next_attempt_at(self) -> datetime | None:
        """When it is tried next, if it waits for that."""
        return None if self.status is NotificationStatus.SENDING else self.due_at

    def begin_sending(self, now: datetime, claim: timedelta) -> None:
        """It is handed to the mail server now, by whoever claims it, within `claim`.

        A mail whose access code has run out is SUPPRESSED instead. One that is SENDING may be begun
        again when the claim has run out: its process crashed. Raises NotificationNotDue.
        """
        if self.due_at is None or now < self.due_at:
            raise NotificationNotDue(f"{self.notification_id} is {self.status} until {self.due_at}")
        if now >= self.issued.expire_at:
            self._end(NotificationStatus.SUPPRESSED, "the access code expired before it was sent")
            return
        self.status, self.due_at = NotificationStatus.SENDING, now + claim
        self.attempts += 1

    def record(
        self, attempt: int, outcome: Outcome, now: datetime, delay: Callable[[int], timedelta]
    ) -> None:
        """Notes what became of an attempt; `delay` tells how long to wait after so many.

        Raises ClaimLost if another attempt has begun since: that one decides.
        """
        if self.status is not NotificationStatus.SENDING or self.attempts != attempt:
            raise ClaimLost(f"{self.notification_id} is {self.status} at attempt {self.attempts}")
        match outcome:
            case Accepted():
                self._end(NotificationStatus.SENT, "")
                self.sent_at = now
            case Deferred(reason):
                self.status, self.due_at = NotificationStatus.DEFERRED, now + delay(attempt)
                self.last_error = self._told(reason)
            case Refused(reason):
                self._end(NotificationStatus.FAILED, reason)

    def _end(self, status: NotificationStatus, reason: str) -> None:
        self.status, self.due_at, self.last_error = status, None, self._told(reason)

    def _told(self, reason: str) -> str:
        """A reason in one line without the access code, however a mail server quotes it."""
        symbols = [symbol for symbol in self.issued.access_code if symbol.isalnum()]
        code = re.compile(r"[\W_]*".join(map(re.escape, symbols)), re.IGNORECASE)
        line = " ".join(reason.split())
        visible = "".join(symbol if symbol.isprintable() else "?" for symbol in line)
        return code.sub("****", visible)[:_LONGEST_ERROR]
