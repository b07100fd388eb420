"""Sending: mails are claimed, and the outcome of each attempt is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from notification_svc.domain.contents import FeedbackContent
from notification_svc.domain.notifications import (
    DeliveryContext,
    Notification,
    SuppressionReason,
)
from notification_svc.domain.outcomes import Outcome, Refused
from notification_svc.domain.suppressions import Suppression, normalised
from notification_svc.use_cases.ports import IdFactory, UnitOfWork
from notification_svc.use_cases.queueing import requeue_suppressed


@dataclass(frozen=True, slots=True)
class ClaimNotifications:
    """Claims up to `limit` due mails; a claim expires after `claim`.

    `claimed_by` is the claims' holder, None if no process watches it.
    """

    limit: int
    claim: timedelta
    claimed_by: str | None = None


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """The outcome of an attempt."""

    notification_id: str
    attempt: int
    outcome: Outcome


async def claim_notifications(
    command: ClaimNotifications, uow: UnitOfWork, *, ids: IdFactory, now: datetime
) -> list[Notification]:
    """Returns the due mails: the caller sends those that are SENDING; the others are SUPPRESSED.

    The delivery context is read after the mails are locked, so everything committed before counts.
    A code version that is committed later does not affect a mail that is already being sent.
    """
    due = await uow.notifications.due(now, command.limit)
    contexts = await _delivery_contexts(due, uow)
    for notification in due:
        context = contexts[notification.notification_id]
        notification.begin_sending(now, command.claim, context, command.claimed_by)
    await uow.notifications.save_many(due)
    outdated = [mail for mail in due if mail.suppression_reason is SuppressionReason.CODE_OUTDATED]
    newest = [code for mail in outdated if (code := contexts[mail.notification_id].code)]
    await requeue_suppressed(newest, uow, ids=ids, now=now, lock=False)
    return due


async def _delivery_contexts(
    due: Sequence[Notification], uow: UnitOfWork
) -> dict[str, DeliveryContext]:
    if not due:
        return {}
    codes = await uow.code_versions.newest({mail.order_id for mail in due})
    suppressed = await uow.suppressions.among({normalised(mail.recipient.email) for mail in due})
    feedback = {mail.customer_id for mail in due if isinstance(mail.content, FeedbackContent)}
    declining = await uow.preferences.declining_feedback(feedback) if feedback else set()
    return {
        mail.notification_id: DeliveryContext(
            code=codes.get(mail.order_id),
            address_suppressed=normalised(mail.recipient.email) in suppressed,
            feedback_declined=mail.customer_id in declining,
        )
        for mail in due
    }


async def record_outcome(
    command: RecordOutcome,
    uow: UnitOfWork,
    *,
    delay: Callable[[int], timedelta],
    ids: IdFactory,
    now: datetime,
) -> Notification:
    """Records it; a refused address is suppressed. Raises NotificationNotFound, ClaimLost.

    If the code changed during a failed attempt, the next claim suppresses the mail.
    """
    notification = await uow.notifications.get(command.notification_id)
    notification.record(command.attempt, command.outcome, now, delay)
    await uow.notifications.save_many([notification])
    if isinstance(command.outcome, Refused) and command.outcome.bad_address:
        email, reason = notification.recipient.email, notification.last_error
        await uow.suppressions.add(Suppression.of(ids.suppression(), email, reason, now))
    return notification
