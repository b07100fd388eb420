"""Notification: one mail to one recipient about one event.

QUEUED → SENDING → SENT; SENDING ↔ DEFERRED; → FAILED | SUPPRESSED.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from notification_svc.domain.codes import CodeVersion
from notification_svc.domain.contents import (
    AccessCodeContent,
    Content,
    FeedbackContent,
    RefundContent,
)
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from notification_svc.domain.reasons import (
    MAX_REASON_LENGTH,
    one_line,
    without_address,
)
from shared_model.access_code import mask_access_code


class NotificationStatus(StrEnum):
    """The status of a notification."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    SENT = "SENT"
    DEFERRED = "DEFERRED"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"


class SuppressionReason(StrEnum):
    """Why a mail is not sent."""

    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_OUTDATED = "CODE_OUTDATED"
    ADDRESS_SUPPRESSED = "ADDRESS_SUPPRESSED"
    DECLINED = "DECLINED"


_SUPPRESSION_TEXTS = {
    SuppressionReason.CODE_EXPIRED: "the access code expired before it was sent",
    SuppressionReason.CODE_OUTDATED: "the access code has changed since",
    SuppressionReason.ADDRESS_SUPPRESSED: "the address is on the suppression list",
    SuppressionReason.DECLINED: "declined by the customer",
}
_POSSIBLY_DELIVERED = "an earlier attempt may have been delivered"


class NotificationNotFound(LookupError):
    """There is no such notification."""


class NotificationNotDue(Exception):
    """The notification is not due."""


class ClaimLost(Exception):
    """Another attempt has claimed the notification."""


class NotificationNotEnded(Exception):
    """A notification that is queued or being sent cannot be resent."""

    def __init__(self, notification_id: str, status: NotificationStatus) -> None:
        super().__init__(f"notification {notification_id} cannot be sent again: it is {status}")
        self.subject = notification_id


class NotificationNotFailed(Exception):
    """Only a notification that failed or whose address is suppressed can be dismissed."""

    def __init__(self, notification_id: str, status: NotificationStatus) -> None:
        super().__init__(f"notification {notification_id} cannot be dismissed: it is {status}")
        self.subject = notification_id


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of a mail and their language."""

    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """The facts that may suppress a mail, read when it is claimed.

    `code` is the newest known version of the order's access code.
    """

    code: CodeVersion | None = None
    address_suppressed: bool = False
    feedback_declined: bool = False


@dataclass(frozen=True, slots=True)
class NotificationFailed:
    """The mail server refused a mail permanently; `reason` contains no code and no address."""

    notification_id: str
    order_id: str
    event_id: str
    event_type: str
    reason: str
    occurred_at: datetime


@dataclass(slots=True, kw_only=True)
class Notification:
    """One mail to one recipient about one event.

    `due_at` is the time of the next attempt or, while SENDING, the expiry of the claim; None in a
    final status. `claimed_by` is the holder of the last claim. `suppression_reason` is set if it is
    SUPPRESSED. `possibly_delivered`: the outcome of an attempt is unknown, so that it may have been
    delivered although its status is not SENT.
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
    claimed_by: str | None = None
    possibly_delivered: bool = False
    dismissed_at: datetime | None = None
    events: list[NotificationFailed] = field(default_factory=list)

    @property
    def next_attempt_at(self) -> datetime | None:
        """The time of the next attempt, if it waits for one."""
        return None if self.status is NotificationStatus.SENDING else self.due_at

    @property
    def needs_operator(self) -> bool:
        """Whether the recipient misses it, and only an operator can help, until it is resolved.

        Of the mails to a suppressed address: those with an access code or about money, and those
        that somebody had sent again.
        """
        if self.suppression_reason is not SuppressionReason.ADDRESS_SUPPRESSED:
            return self.status is NotificationStatus.FAILED
        return bool(self.resend_of) or isinstance(self.content, AccessCodeContent | RefundContent)

    def begin_sending(
        self,
        now: datetime,
        claim: timedelta,
        context: DeliveryContext,
        claimed_by: str | None = None,
    ) -> None:
        """Claims it for an attempt that ends within `claim`, or suppresses it.

        SENDING may begin again after the claim has expired: the process crashed, and whether the
        mail server accepted the mail is unknown. Raises NotificationNotDue.
        """
        if self.due_at is None or now < self.due_at:
            raise NotificationNotDue(f"{self.notification_id} is {self.status} until {self.due_at}")
        if self.status is NotificationStatus.SENDING:
            self.possibly_delivered = True
        if self.suppress(now, context):
            return
        self.status, self.due_at = NotificationStatus.SENDING, now + claim
        self.claimed_by = claimed_by
        self.attempts += 1

    def suppress(self, now: datetime, context: DeliveryContext) -> bool:
        """Sets SUPPRESSED if the mail is not to be sent; returns whether it did."""
        if (reason := self._suppression_reason(now, context)) is None:
            return False
        self._end(NotificationStatus.SUPPRESSED, self._suppression_text(reason))
        self.suppression_reason = reason
        return True

    def _suppression_text(self, reason: SuppressionReason) -> str:
        text = _SUPPRESSION_TEXTS[reason]
        return f"{text}; {_POSSIBLY_DELIVERED}" if self.possibly_delivered else text

    def _suppression_reason(
        self, now: datetime, context: DeliveryContext
    ) -> SuppressionReason | None:
        # The code first: a mail suppressed as CODE_OUTDATED may be queued again.
        if isinstance(self.content, AccessCodeContent):
            if now >= self.content.expire_at:
                return SuppressionReason.CODE_EXPIRED
            if self.content.is_outdated(context.code):
                return SuppressionReason.CODE_OUTDATED
        if context.address_suppressed:
            return SuppressionReason.ADDRESS_SUPPRESSED
        if context.feedback_declined and isinstance(self.content, FeedbackContent):
            return SuppressionReason.DECLINED
        return None

    def record(
        self, attempt: int, outcome: Outcome, now: datetime, delay: Callable[[int], timedelta]
    ) -> None:
        """Records the outcome of an attempt; `delay` gives the pause after that many attempts.

        Raises ClaimLost if another attempt has begun since.
        """
        if self.status is not NotificationStatus.SENDING or self.attempts != attempt:
            raise ClaimLost(f"{self.notification_id} is {self.status} at attempt {self.attempts}")
        match outcome:
            case Accepted():
                self._end(NotificationStatus.SENT, "")
                self.sent_at, self.possibly_delivered = now, False
            case Deferred(reason):
                self.possibly_delivered |= outcome.possibly_delivered
                self.status, self.due_at = NotificationStatus.DEFERRED, now + delay(attempt)
                self.last_error = self._redacted(reason)[:MAX_REASON_LENGTH]
            case Refused(reason):
                self._end(NotificationStatus.FAILED, reason)
                self.events.append(self._failed(reason, now))

    def resend(
        self, notification_id: str, message_id: str, now: datetime, newest: CodeVersion | None
    ) -> "Notification":
        """A new mail with the same content, with the newest version of the code if it is active.

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

    def dismiss(self, now: datetime) -> None:
        """An operator gives up a mail that needs one; raises NotificationNotFailed."""
        if not self.needs_operator:
            raise NotificationNotFailed(self.notification_id, self.status)
        self.dismissed_at = self.dismissed_at or now

    def is_suppressed_for(self, newest: CodeVersion) -> bool:
        """Whether it was suppressed as outdated, and its code is active in the newest version."""
        return (
            self.suppression_reason is SuppressionReason.CODE_OUTDATED
            and isinstance(self.content, AccessCodeContent)
            and newest.allows(self.content.access_code_id)
        )

    def _end(self, status: NotificationStatus, reason: str) -> None:
        self.status, self.due_at = status, None
        self.last_error = self._redacted(reason)[:MAX_REASON_LENGTH]

    def _failed(self, reason: str, now: datetime) -> NotificationFailed:
        line = without_address(self._redacted(reason), self.recipient.email)
        return NotificationFailed(
            notification_id=self.notification_id,
            order_id=self.order_id,
            event_id=self.event_id,
            event_type=self.event_type,
            reason=line[:MAX_REASON_LENGTH],
            occurred_at=now,
        )

    def _redacted(self, reason: str) -> str:
        """A reason in one line, without the access code in any spelling."""
        line = one_line(reason)
        content = self.content
        return (
            mask_access_code(line, content.access_code)
            if isinstance(content, AccessCodeContent)
            else line
        )
