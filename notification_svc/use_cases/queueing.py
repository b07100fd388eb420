"""Incoming events: code versions are updated, mails are queued and queued again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from notification_svc.domain.codes import CodeVersion
from notification_svc.domain.contents import AccessCodeContent, Content
from notification_svc.domain.notifications import DeliveryContext, Notification, Recipient
from notification_svc.domain.suppressions import normalised
from notification_svc.use_cases.ports import IdFactory, UnitOfWork


@dataclass(frozen=True, slots=True)
class QueueMail:
    """A mail that an event causes."""

    event_id: str
    event_type: str
    order_id: str
    customer_id: str
    recipient: Recipient
    content: Content


@dataclass(frozen=True, slots=True)
class HandleEvent:
    """The code version of an event, and the mail that it causes."""

    code: CodeVersion | None = None
    mail: QueueMail | None = None

    @property
    def has_code(self) -> bool:
        """Whether its mail contains the access code."""
        return self.mail is not None and isinstance(self.mail.content, AccessCodeContent)


@dataclass(frozen=True, slots=True)
class ResendNotification:
    """A request to send a mail again."""

    notification_id: str


@dataclass(frozen=True, slots=True)
class DismissNotification:
    """A request to give up a failed mail."""

    notification_id: str


async def handle_events(
    commands: Sequence[HandleEvent], uow: UnitOfWork, *, ids: IdFactory, now: datetime
) -> None:
    """Updates code versions and queues mails, one per event and recipient.

    No order occurs twice. Versions come first, so that the claim of a mail of this transaction
    finds at least the mail's own version.
    """
    newest = await uow.code_versions.upsert_newer(
        [command.code for command in commands if command.code]
    )
    mails = [_queued(command.mail, ids, now) for command in commands if command.mail]
    await uow.notifications.add_new(mails)
    without_mail = {
        command.code.order_id for command in commands if command.code and not command.has_code
    }
    without = [newest[order_id] for order_id in sorted(without_mail)]
    await requeue_suppressed(without, uow, ids=ids, now=now, lock=True)


def _queued(command: QueueMail, ids: IdFactory, now: datetime) -> Notification:
    notification_id, message_id = ids.mail()
    return Notification(
        notification_id=notification_id,
        order_id=command.order_id,
        customer_id=command.customer_id,
        event_id=command.event_id,
        event_type=command.event_type,
        recipient=command.recipient,
        content=command.content,
        message_id=message_id,
        created_at=now,
        due_at=now,
    )


async def requeue_suppressed(
    newest: Collection[CodeVersion],
    uow: UnitOfWork,
    *,
    ids: IdFactory,
    now: datetime,
    lock: bool,
) -> None:
    """Queues mails with codes again that were suppressed as outdated, if the code is active again.

    Guarantee: every customer gets their code. If the newest version of an order's code is ACTIVE,
    the last mail with this code was not suppressed as outdated, or is queued again with the newest
    version. So after a failed refund, which has no mail of its own, the customer gets the mail that
    the refund's request had suppressed. The rule is applied whenever one of its inputs changes:
    when an event is handled (with `lock`, so that a concurrent claim ends first), and when a mail
    has just been suppressed.
    """
    active = {version.order_id: version for version in newest if version.is_active}
    last: dict[str, Notification] = {}
    for mail in await uow.notifications.with_codes(active, lock=lock) if active else ():
        last[mail.order_id] = mail
    await uow.notifications.add_new(
        [
            mail.resend(*ids.mail(), now, active[order_id])
            for order_id, mail in last.items()
            if mail.is_suppressed_for(active[order_id])
        ]
    )


async def resend_notification(
    command: ResendNotification, uow: UnitOfWork, *, ids: IdFactory, now: datetime
) -> Notification:
    """The new notification. Raises NotificationNotFound, NotificationNotEnded.

    It is SUPPRESSED at once if its address is suppressed or its code has expired, so that the
    reply says so. Whether its code is outdated is decided when it is claimed.
    """
    original = await uow.notifications.get(command.notification_id)
    newest = await uow.code_versions.newest([original.order_id])
    resent = original.resend(*ids.mail(), now, newest.get(original.order_id))
    email = normalised(resent.recipient.email)
    is_suppressed = email in await uow.suppressions.among([email])
    resent.suppress(now, DeliveryContext(address_suppressed=is_suppressed))
    await uow.notifications.add_new([resent])
    return resent


async def dismiss_notification(
    command: DismissNotification, uow: UnitOfWork, *, now: datetime
) -> Notification:
    """The dismissed notification. Raises NotificationNotFound, NotificationNotFailed."""
    notification = await uow.notifications.get(command.notification_id)
    notification.dismiss(now)
    await uow.notifications.save_many([notification])
    return notification
