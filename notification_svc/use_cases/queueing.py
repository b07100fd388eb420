"""Events come in: versions of codes rise, mails are queued, and what ended is sent again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from notification_svc.domain.codes import CodeVersion
from notification_svc.domain.contents import AccessCodeContent, Content
from notification_svc.domain.notifications import Notification, Recipient
from notification_svc.use_cases.ports import NewIdentity, UnitOfWork


@dataclass(frozen=True, slots=True)
class QueueMail:
    """An event that somebody is to hear of by mail."""

    event_id: str
    event_type: str
    order_id: str
    customer_id: str
    recipient: Recipient
    content: Content


@dataclass(frozen=True, slots=True)
class HandleEvent:
    """What an event says of its order's code, and the mail that it asks for."""

    code: CodeVersion | None = None
    mail: QueueMail | None = None

    @property
    def tells_code(self) -> bool:
        """Whether its mail tells the code."""
        return self.mail is not None and isinstance(self.mail.content, AccessCodeContent)


@dataclass(frozen=True, slots=True)
class ResendNotification:
    """Somebody wants a mail sent again."""

    notification_id: str


async def handle_events(
    commands: Sequence[HandleEvent], uow: UnitOfWork, *, identity: NewIdentity, now: datetime
) -> None:
    """Raises versions, queues mails, once per event and recipient. No order occurs twice.

    Versions first: whoever claims a mail of this transaction finds at least its own version.
    """
    newest = await uow.code_versions.raise_to([one.code for one in commands if one.code])
    mails = [_queued(one.mail, identity, now) for one in commands if one.mail]
    await uow.notifications.add_new(mails)
    silent = {one.code.order_id for one in commands if one.code and not one.tells_code}
    heard = [newest[order_id] for order_id in sorted(silent)]
    await tell_again(heard, uow, identity=identity, now=now, lock=True)


def _queued(command: QueueMail, identity: NewIdentity, now: datetime) -> Notification:
    notification_id, message_id = identity.mail()
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


async def tell_again(
    newest: Collection[CodeVersion],
    uow: UnitOfWork,
    *,
    identity: NewIdentity,
    now: datetime,
    lock: bool,
) -> None:
    """Queues code mails again that were held back for a version of a code that is good again.

    The rule that leaves nobody without their code: if the newest version says that the order's code
    is ACTIVE, the last mail that tells this code has either not ended by being outdated, or is sent
    again under that version. A failed refund, which lifts its hold and has no mail of its own, so
    brings the code whose mail its request held back. It is applied whenever one side of it changes:
    to an event (`lock`, so that a claim in this moment ends first), and to a mail just held back.
    """
    good = {version.order_id: version for version in newest if version.is_active}
    last: dict[str, Notification] = {}
    for mail in await uow.notifications.telling_codes(good, lock=lock) if good else ():
        last[mail.order_id] = mail
    await uow.notifications.add_new(
        [
            mail.resend(*identity.mail(), now, good[order_id])
            for order_id, mail in last.items()
            if mail.is_held_back_for(good[order_id])
        ]
    )


async def resend_notification(
    command: ResendNotification, uow: UnitOfWork, *, identity: NewIdentity, now: datetime
) -> Notification:
    """The new notification. Raises NotificationNotFound, NotificationNotEnded."""
    original = await uow.notifications.get(command.notification_id)
    newest = await uow.code_versions.of([original.order_id])
    again = original.resend(*identity.mail(), now, newest.get(original.order_id))
    await uow.notifications.add_new([again])
    return again
