"""Mails go out: claimed by whoever sends them, and what became of it is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from notification_svc.domain.notifications import (
    DeliveryContext,
    Notification,
    SuppressionReason,
)
from notification_svc.domain.outcomes import Outcome, Refused
from notification_svc.domain.suppressions import Suppression, normalised
from notification_svc.use_cases.ports import NewIdentity, UnitOfWork
from notification_svc.use_cases.queueing import tell_again


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


async def claim_notifications(
    command: ClaimNotifications, uow: UnitOfWork, *, identity: NewIdentity, now: datetime
) -> list[Notification]:
    """Those that were due: SENDING ones are the caller's to send, the others are SUPPRESSED.

    What speaks against a mail is read after the mail was locked: what was committed before counts.
    A version committed later meets a mail that is being handed over already.
    """
    due = await uow.notifications.due(now, command.limit)
    known = await _known_of(due, uow)
    for notification in due:
        notification.begin_sending(now, command.claim, known[notification.notification_id])
    await uow.notifications.save_many(due)
    held_back = [one for one in due if one.suppression_reason is SuppressionReason.CODE_OUTDATED]
    newest = [code for one in held_back if (code := known[one.notification_id].code)]
    await tell_again(newest, uow, identity=identity, now=now, lock=False)
    return due


async def _known_of(due: Sequence[Notification], uow: UnitOfWork) -> dict[str, DeliveryContext]:
    if not due:
        return {}
    codes = await uow.code_versions.of({one.order_id for one in due})
    suppressed = await uow.suppressions.among({normalised(one.recipient.email) for one in due})
    declining = await uow.preferences.declining_feedback({one.customer_id for one in due})
    return {
        one.notification_id: DeliveryContext(
            code=codes.get(one.order_id),
            address_suppressed=normalised(one.recipient.email) in suppressed,
            feedback_declined=one.customer_id in declining,
        )
        for one in due
    }


async def record_outcome(
    command: RecordOutcome,
    uow: UnitOfWork,
    *,
    delay: Callable[[int], timedelta],
    identity: NewIdentity,
    now: datetime,
) -> Notification:
    """Also stops all mail to an address that was refused. Raises NotificationNotFound, ClaimLost.

    A mail whose code changed while it was being sent, and was not taken, is judged when it is
    claimed again.
    """
    notification = await uow.notifications.get(command.notification_id)
    notification.record(command.attempt, command.outcome, now, delay)
    await uow.notifications.save_many([notification])
    if isinstance(command.outcome, Refused) and command.outcome.bad_address:
        email, reason = notification.recipient.email, notification.last_error
        await uow.suppressions.add(Suppression.of(identity.suppression(), email, reason, now))
    return notification
