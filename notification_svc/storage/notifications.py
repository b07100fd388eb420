"""Notifications in PostgreSQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement
from notification_svc.domain.notifications import (
    Notification,
    NotificationNotFound,
    NotificationStatus,
    Recipient,
    SuppressionReason,
)
from notification_svc.storage.contents import from_columns, to_columns
from notification_svc.storage.mail_status import is_unresolved
from notification_svc.storage.tables import notifications as table
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import newest_of_status

# The columns that change.
_STATE = (
    "due_at",
    "status",
    "attempts",
    "last_error",
    "suppression_reason",
    "sent_at",
    "claimed_by",
    "possibly_delivered",
    "dismissed_at",
)
_FIXED = (
    "notification_id",
    "order_id",
    "customer_id",
    "event_id",
    "event_type",
    "message_id",
    "resend_of",
    "created_at",
)

# All but `resent_at`, which an update sets.
_COLUMNS = [name for name in table.columns.keys() if name != "resent_at"]  # noqa: SIM118
# Of an event and recipient there is one mail, except for resends.
_ADD_NEW = FixedStatement(
    insert(table).on_conflict_do_nothing(
        index_elements=[table.c.event_id, table.c.email],
        index_where=table.c.resend_of == literal_column("''"),
    ),
    _COLUMNS,
)
_BY_ID = select(table).where(table.c.notification_id == bindparam("notification_id"))
_LOCK = FixedStatement(_BY_ID.with_for_update())
_SAVE = FixedStatement(
    update(table)
    .where(table.c.notification_id == bindparam("id"))
    .values({name: bindparam(f"new_{name}") for name in _STATE})
)


def _due() -> FixedStatement:
    sending = table.alias("sending")
    status: ColumnElement[str] = literal_column(f"'{NotificationStatus.SENDING}'")
    is_sending = exists().where(sending.c.order_id == table.c.order_id, sending.c.status == status)
    return FixedStatement(
        select(table)
        .where(table.c.due_at <= bindparam("now"))
        .where(or_(table.c.status == status, ~is_sending))
        .order_by(table.c.due_at)
        .limit(bindparam("max_count"))
        .with_for_update(skip_locked=True)
    )


_DUE = _due()


class SqlNotifications:
    """The repository of notifications."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def add_new(self, notifications: Sequence[Notification]) -> None:
        """Adds notifications; skips a second one of an event and recipient, except resends."""
        if not notifications:
            return
        # In a fixed order: two replicas that add the same would deadlock otherwise.
        ordered = sorted(notifications, key=lambda mail: (mail.event_id, mail.recipient.email))
        await _ADD_NEW.execute_many(self._connection, [_row(mail) for mail in ordered])
        await self._mark_resent([mail.resend_of for mail in ordered if mail.resend_of])

    async def _mark_resent(self, originals: Sequence[str]) -> None:
        if not originals:
            return
        statement = update(table).where(table.c.notification_id.in_(originals))
        await self._connection.execute(statement.values(resent_at=func.now()))

    async def get(
        self, notification_id: str, *, lock: bool = True, customer_id: str | None = None
    ) -> Notification:
        """One notification, of `customer_id` if it is given; raises NotificationNotFound."""
        names = {"notification_id": notification_id}
        if lock and customer_id is None:
            row: Any = await _LOCK.first(self._connection, names)
        else:
            statement = _BY_ID.with_for_update() if lock else _BY_ID
            if customer_id is not None:
                statement = statement.where(table.c.customer_id == customer_id)
            row = (await self._connection.execute(statement, names)).first()
        if row is None:
            raise NotificationNotFound(f"no notification {notification_id}")
        return _notification(row)

    async def page(
        self,
        order_id: str,
        status: str,
        last: str,
        limit: int,
        *,
        customer_id: str | None,
        unresolved_only: bool = False,
    ) -> list[Notification]:
        """Notifications after `last`, newest first; "" and None do not restrict.

        `unresolved_only` restricts to those that need an operator.
        """
        statement: Select[Any] = select(table)
        if customer_id is not None:
            statement = statement.where(table.c.customer_id == customer_id)
        if order_id:
            statement = statement.where(table.c.order_id == order_id)
        if unresolved_only:
            statement = statement.where(is_unresolved())
        status_filter = table.c.status, status
        # Unresolved ones, which are few, too: by an index on them.
        of_one = customer_id is not None or bool(order_id) or unresolved_only
        statement = newest_of_status(
            statement, table.c.notification_id, last, limit, status_filter, of_one=of_one
        )
        return [_notification(row) for row in await self._connection.execute(statement)]

    async def due(self, now: datetime, limit: int) -> list[Notification]:
        """The longest due, locked; rows that another process has locked are skipped.

        At most one per order, and none while another is SENDING.
        """
        found: dict[str, Notification] = {}
        for row in await _DUE.fetch(self._connection, {"now": now, "max_count": limit}):
            found.setdefault(row.order_id, _notification(row))
        return list(found.values())

    async def with_codes(self, order_ids: Collection[str], *, lock: bool) -> Sequence[Notification]:
        """The orders' mails with an access code, by version, then by age."""
        statement = (
            select(table)
            .where(table.c.order_id.in_(order_ids), table.c.access_code.is_not(None))
            .order_by(table.c.order_id, table.c.version, table.c.notification_id)
        )
        statement = statement.with_for_update() if lock else statement
        return [_notification(row) for row in await self._connection.execute(statement)]

    async def release_claims(self, holders: Collection[str]) -> int:
        """Makes the mails that these processes have claimed due now; returns their number."""
        statement = (
            update(table)
            .where(table.c.status == NotificationStatus.SENDING, table.c.claimed_by.in_(holders))
            .values(due_at=func.now())
        )
        return int((await self._connection.execute(statement)).rowcount)

    async def save_many(self, notifications: Sequence[Notification]) -> None:
        """Updates."""
        rows = [
            {"id": mail.notification_id, **{f"new_{name}": getattr(mail, name) for name in _STATE}}
            for mail in notifications
        ]
        await _SAVE.execute_many(self._connection, rows)
        self._collect_events(notifications)


def _row(aggregate: Notification) -> dict[str, Any]:
    return {
        **{name: getattr(aggregate, name) for name in (*_FIXED, *_STATE)},
        "email": aggregate.recipient.email,
        "display_name": aggregate.recipient.display_name,
        "language_code": aggregate.recipient.language_code,
        **to_columns(aggregate.content),
    }


def _notification(row: Any) -> Notification:
    values = {name: getattr(row, name) for name in (*_FIXED, *_STATE)}
    values["status"] = NotificationStatus(row.status)
    values["suppression_reason"] = (
        SuppressionReason(row.suppression_reason) if row.suppression_reason else None
    )
    recipient = Recipient(row.email, row.display_name, row.language_code)
    return Notification(**values, recipient=recipient, content=from_columns(row))
