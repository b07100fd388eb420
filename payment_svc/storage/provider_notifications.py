"""The repository of provider notifications, and the queue of those to be processed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.money import Money
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    Declined,
    Outcome,
    OutcomeUnknown,
)
from payment_svc.domain.provider_notifications import (
    Dismissal,
    ProviderNotification,
    ProviderNotificationNotFound,
    ProviderNotificationStatus,
)
from payment_svc.storage.tables import provider_notifications as table
from runtime.rpc.pagination import newest_of_status

UNRESOLVED = and_(
    table.c.status == ProviderNotificationStatus.QUARANTINED, table.c.dismissed_at.is_(None)
)
"""Selects the notifications that need an operator."""


class SqlProviderNotifications:
    """The provider notifications."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def store(self, notification: ProviderNotification) -> ProviderNotification:
        """Inserts it; or counts another delivery of the same body and returns the stored one."""
        statement = insert(table).values(**_row(notification), due_at=func.now())
        counted = {"deliveries": table.c.deliveries + 1}
        statement = statement.on_conflict_do_update(index_elements=["digest"], set_=counted)
        row = (await self._connection.execute(statement.returning(table))).one()
        return _notification(row)

    async def get(self, notification_id: str) -> ProviderNotification:
        """Locks and returns a notification; raises ProviderNotificationNotFound."""
        matches = table.c.provider_notification_id == notification_id
        statement = select(table).where(matches).with_for_update()
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise ProviderNotificationNotFound(f"no notification {notification_id}")
        return _notification(row)

    async def save(self, notification: ProviderNotification) -> None:
        """Updates status, quarantine reason and dismissal."""
        matches = table.c.provider_notification_id == notification.provider_notification_id
        changed = {
            "status": notification.status,
            "quarantine_reason": notification.quarantine_reason,
            **_dismissal_columns(notification.dismissal),
        }
        await self._connection.execute(update(table).where(matches).values(changed))

    async def find_due(self, limit: int) -> Mapping[str, int]:
        """Ids of notifications to be processed, longest due first, with their failure counts."""
        statement = (
            select(table.c.provider_notification_id, table.c.failures)
            .where(
                table.c.status == ProviderNotificationStatus.RECEIVED, table.c.due_at <= func.now()
            )
            .order_by(table.c.due_at)
            .limit(limit)
        )
        rows = await self._connection.execute(statement)
        return {row.provider_notification_id: row.failures for row in rows}

    async def postpone(self, notification_id: str, delay: timedelta) -> None:
        """Counts a failure; the notification is due again after `delay`."""
        matches = table.c.provider_notification_id == notification_id
        changed = {"failures": table.c.failures + 1, "due_at": func.now() + delay}
        await self._connection.execute(update(table).where(matches).values(changed))

    async def page(
        self, status: str, after: str, limit: int, *, unresolved_only: bool = False
    ) -> Sequence[ProviderNotification]:
        """Notifications after the id `after`, newest first; "" does not filter."""
        statement = select(table)
        if unresolved_only:
            statement = statement.where(UNRESOLVED)
        column, status_filter = table.c.provider_notification_id, (table.c.status, status)
        # Unresolved ones, which are few, by an index on them.
        statement = newest_of_status(
            statement, column, after, limit, status_filter, of_one=unresolved_only
        )
        return [_notification(row) for row in await self._connection.execute(statement)]


def _row(notification: ProviderNotification) -> dict[str, Any]:
    converted = {"amount", "dismissal"}
    names = [name for name in notification.__dataclass_fields__ if name not in converted]
    outcome, reason = _outcome_columns(notification.outcome)
    amount = notification.amount
    return {
        **{name: getattr(notification, name) for name in names},
        **(asdict(amount) if amount else {"amount_minor": None, "currency_code": ""}),
        "outcome": outcome,
        "decline_reason": reason,
        **_dismissal_columns(notification.dismissal),
    }


def _dismissal_columns(dismissal: Dismissal | None) -> dict[str, Any]:
    return asdict(dismissal) if dismissal else {}


def _notification(row: Row[Any]) -> ProviderNotification:
    has_amount = row.amount_minor is not None
    amount = Money(row.amount_minor, row.currency_code) if has_amount else None
    return ProviderNotification(
        provider_notification_id=row.provider_notification_id,
        digest=row.digest,
        body=row.body,
        kind=row.kind,
        payment_id=row.payment_id,
        order_id=row.order_id,
        amount=amount,
        outcome=_outcome(row.outcome, amount, row.decline_reason),
        received_at=row.received_at,
        deliveries=row.deliveries,
        status=ProviderNotificationStatus(row.status),
        quarantine_reason=row.quarantine_reason,
        dismissal=_dismissal(row),
    )


def _dismissal(row: Row[Any]) -> Dismissal | None:
    if row.dismissed_at is None:
        return None
    return Dismissal(row.dismissed_at, row.dismissed_by, row.dismissal_reason)


def _outcome_columns(outcome: Outcome | None) -> tuple[str, str]:
    match outcome:
        case None:
            return "", ""
        case Captured():
            return "CAPTURED", ""
        case Declined(reason):
            return "DECLINED", reason
        case Cancelled():
            return "CANCELLED", ""
        case Accepted():
            return "PROCESSING", ""
        case OutcomeUnknown():
            return "NO_ANSWER", ""


def _outcome(name: str, amount: Money | None, reason: str) -> Outcome | None:
    if amount is None or not name:
        return None
    match name:
        case "CAPTURED":
            return Captured(amount)
        case "DECLINED":
            return Declined(reason)
        case "CANCELLED":
            return Cancelled()
        case "PROCESSING":
            return Accepted()
        case _:
            return OutcomeUnknown()
