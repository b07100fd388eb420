"""What notification does, one function each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from notification_svc.domain import (
    IssuedCode,
    Notification,
    NotificationStatus,
    Outcome,
    Recipient,
)


class Notifications(Protocol):
    """The notifications."""

    async def add_new(self, notifications: Sequence[Notification]) -> None:
        """Adds those whose event has caused no mail to their recipient yet."""

    async def get(self, notification_id: str) -> Notification:
        """Locked until the end of the transaction; raises NotificationNotFound."""

    async def due(self, now: datetime, limit: int) -> list[Notification]:
        """The longest due, locked, at most one of an order and none beside one that is SENDING."""

    async def save_many(self, notifications: Sequence[Notification]) -> None:
        """Updates."""


class UnitOfWork(Protocol):
    """What one transaction changes."""

    @property
    def notifications(self) -> Notifications: ...


@dataclass(frozen=True, slots=True)
class QueueNotification:
    """An event that somebody is to hear of by mail."""

    event_id: str
    event_type: str
    order_id: str
    customer_id: str
    recipient: Recipient
    issued: IssuedCode


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """Where identities come from: of notifications, and of the mails made of them."""

    new_id: Callable[[], str]
    mail_domain: str


@dataclass(frozen=True, slots=True)
class ClaimNotifications:
    """A process wants so many mails to send, and sends each within `claim`."""

    limit: int
    claim: timedelta


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What became of an attempt."""

    notification_id: str
    attempt: int
    outcome: Outcome


async def queue_notifications(
    commands: Sequence[QueueNotification],
    uow: UnitOfWork,
    *,
    identity: NewIdentity,
    now: datetime,
) -> None:
    """Queues a mail for each; again for the same event and recipient, it changes nothing."""
    await uow.notifications.add_new([_queued(command, identity, now) for command in commands])


def _queued(command: QueueNotification, identity: NewIdentity, now: datetime) -> Notification:
    notification_id = identity.new_id()
    return Notification(
        notification_id=notification_id,
        order_id=command.order_id,
        customer_id=command.customer_id,
        event_id=command.event_id,
        event_type=command.event_type,
        recipient=command.recipient,
        issued=command.issued,
        message_id=f"<{notification_id}@{identity.mail_domain}>",
        created_at=now,
        due_at=now,
    )


async def claim_notifications(
    command: ClaimNotifications, uow: UnitOfWork, *, now: datetime
) -> list[Notification]:
    """Those that the caller must send now."""
    due = await uow.notifications.due(now, command.limit)
    for notification in due:
        notification.begin_sending(now, command.claim)
    await uow.notifications.save_many(due)
    return [found for found in due if found.status is NotificationStatus.SENDING]


async def record_outcome(
    command: RecordOutcome,
    uow: UnitOfWork,
    *,
    delay: Callable[[int], timedelta],
    now: datetime,
) -> Notification:
    """Raises NotificationNotFound, ClaimLost."""
    notification = await uow.notifications.get(command.notification_id)
    notification.record(command.attempt, command.outcome, now, delay)
    await uow.notifications.save_many([notification])
    return notification
