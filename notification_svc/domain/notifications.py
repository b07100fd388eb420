"""Notification: one mail to one person about one event.

QUEUED → SENDING → SENT; SENDING ↔ DEFERRED; → FAILED | SUPPRESSED.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from notification_svc.domain.codes import CodeVersion
from notification_svc.domain.contents import AccessCodeContent, Content, FeedbackContent
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from notification_svc.domain.reasons import LONGEST_REASON, one_line, without_address, without_code


class NotificationStatus(StrEnum):
    """Where a notification stands."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    SENT = "SENT"
    DEFERRED = "DEFERRED"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"


class SuppressionReason(StrEnum):
    """Why a mail is not to be sent any more."""

    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_OUTDATED = "CODE_OUTDATED"
    ADDRESS_SUPPRESSED = "ADDRESS_SUPPRESSED"
    DECLINED = "DECLINED"


_WORDS = {
    SuppressionReason.CODE_EXPIRED: "the access code expired before it was sent",
    SuppressionReason.CODE_OUTDATED: "the access code has changed since",
    SuppressionReason.ADDRESS_SUPPRESSED: "the address is on the suppression list",
    SuppressionReason.DECLINED: "declined by the customer",
}


class NotificationNotFound(LookupError):
    """There is no such notification."""


class NotificationNotDue(Exception):
    """The notification isn't to be sent now."""


class ClaimLost(Exception):
    """The notification is no longer in the hands of this attempt."""


class NotificationNotEnded(Exception):
    """What still waits to be sent, or is being sent, can't be sent again."""

    def __init__(self, notification_id: str, status: NotificationStatus) -> None:
        super().__init__(f"notification {notification_id} is {status}, which can't be sent again")
        self.subject = notification_id


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a mail goes to, and in which language."""

    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """What may speak against a mail, as known when it is claimed.

    `code` is the newest that payment said of the order's access code.
    """

    code: CodeVersion | None = None
    address_suppressed: bool = False
    feedback_declined: bool = False


@dataclass(frozen=True, slots=True)
class NotificationFailed:
    """The mail server refused a mail for good. `reason` tells neither code nor address."""

    notification_id: str
    order_id: str
    event_id: str
    event_type: str
    reason: str
    occurred_at: datetime


@dataclass(slots=True, kw_only=True)
class Notification:
    """One mail to one person about one event.

    `due_at` is when somebody has to look at it again: when it is tried next or, while SENDING, when
    the claim of the process that sends it runs out. None once nothing is left to do.
    `suppression_reason`
    says why it is SUPPRESSED.
    """

    notification_id: str
    order_id: str
    customer_id: str
    event_id: str
    event_type: str
    recipient: Recipient
    content: Content
    message_id: str
    created_at: datetime
    due_at: datetime | None
    resend_of: str = ""
    status: NotificationStatus = NotificationStatus.QUEUED
    attempts: int = 0
    last_error: str = ""
    suppression_reason: SuppressionReason | None = None
    sent_at: datetime | None = None
    events: list[NotificationFailed] = field(default_factory=list)

    @property
    def next_attempt_at(self) -> datetime | None:
        """When it is tried next, if it waits for that."""
        return None if self.status is NotificationStatus.SENDING else self.due_at

    def begin_sending(self, now: datetime, claim: timedelta, known: DeliveryContext) -> None:
        """It is handed to the mail server now, by whoever claims it, within `claim`.

        One with a suppression_reason is SUPPRESSED instead. SENDING may begin again when the
        claim has run out: its process crashed. Raises NotificationNotDue.
        """
        if self.due_at is None or now < self.due_at:
            raise NotificationNotDue(f"{self.notification_id} is {self.status} until {self.due_at}")
        if (suppression_reason := self._suppression_reason(now, known)) is not None:
            self._end(NotificationStatus.SUPPRESSED, _WORDS[suppression_reason])
            self.suppression_reason = suppression_reason
            return
        self.status, self.due_at = NotificationStatus.SENDING, now + claim
        self.attempts += 1

    def _suppression_reason(
        self, now: datetime, known: DeliveryContext
    ) -> SuppressionReason | None:
        # The code first: one held back for its version may be told again later.
        if isinstance(self.content, AccessCodeContent):
            if now >= self.content.expire_at:
                return SuppressionReason.CODE_EXPIRED
            if self.content.is_outdated(known.code):
                return SuppressionReason.CODE_OUTDATED
        if known.address_suppressed:
            return SuppressionReason.ADDRESS_SUPPRESSED
        if known.feedback_declined and isinstance(self.content, FeedbackContent):
            return SuppressionReason.DECLINED
        return None

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
                self.last_error = self._told(reason)[:LONGEST_REASON]
            case Refused(reason):
                self._end(NotificationStatus.FAILED, reason)
                self.events.append(self._failed(reason, now))

    def resend(
        self, notification_id: str, message_id: str, now: datetime, newest: CodeVersion | None
    ) -> "Notification":
        """A new mail that tells the same, also if its code has changed and is good again.

        Raises NotificationNotEnded.
        """
        if self.due_at is not None:
            raise NotificationNotEnded(self.notification_id, self.status)
        content = self.content
        return Notification(
            notification_id=notification_id,
            order_id=self.order_id,
            customer_id=self.customer_id,
            event_id=self.event_id,
            event_type=self.event_type,
            recipient=self.recipient,
            content=content.as_of(newest) if isinstance(content, AccessCodeContent) else content,
            message_id=message_id,
            created_at=now,
            due_at=now,
            resend_of=self.notification_id,
        )

    def is_held_back_for(self, newest: CodeVersion) -> bool:
        """Whether it was held back since its code changed, and that code is good again."""
        return (
            self.suppression_reason is SuppressionReason.CODE_OUTDATED
            and isinstance(self.content, AccessCodeContent)
            and newest.says_good(self.content.access_code_id)
        )

    def _end(self, status: NotificationStatus, reason: str) -> None:
        self.status, self.due_at = status, None
        self.last_error = self._told(reason)[:LONGEST_REASON]

    def _failed(self, reason: str, now: datetime) -> NotificationFailed:
        told = without_address(self._told(reason), self.recipient.email)
        return NotificationFailed(
            notification_id=self.notification_id,
            order_id=self.order_id,
            event_id=self.event_id,
            event_type=self.event_type,
            reason=told[:LONGEST_REASON],
            occurred_at=now,
        )

    def _told(self, reason: str) -> str:
        """A reason in one line without the access code, however a mail server quotes it."""
        line = one_line(reason)
        content = self.content
        return (
            without_code(line, content.access_code)
            if isinstance(content, AccessCodeContent)
            else line
        )
