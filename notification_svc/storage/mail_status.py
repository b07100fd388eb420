"""The mails that wait and that failed, in PostgreSQL."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Row,
    Select,
    Text,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from notification_svc.domain.contents import RefundContent
from notification_svc.domain.mail_status import MailStatus
from notification_svc.domain.notifications import NotificationStatus, SuppressionReason
from notification_svc.storage.tables import notifications as table


def is_unresolved() -> ColumnElement[bool]:
    """Whether a mail needs an operator and was neither sent again nor dismissed.

    Of a mail that was sent again, the new mail counts if it needs an operator too: so each
    customer without a mail counts once. See `Notification.needs_operator`.
    """
    # Written as in the index, so that PostgreSQL uses it: with literals, since a parameter can have
    # any value.
    resent = table.alias("resent")
    was_resent = exists().where(resent.c.resend_of == table.c.notification_id)
    failed = table.c.status == _literal(NotificationStatus.FAILED)
    suppressed = table.c.suppression_reason == _literal(SuppressionReason.ADDRESS_SUPPRESSED)
    kind = table.c.content.op("->>")(literal_column("'kind'"))
    is_expected = or_(
        table.c.access_code.is_not(None),
        kind == _literal(RefundContent.__name__),
        table.c.resend_of != literal_column("''"),
    )
    needs_operator = or_(failed, suppressed & is_expected)
    is_open = table.c.dismissed_at.is_(None) & table.c.resent_at.is_(None)
    return needs_operator & is_open & ~was_resent


def _literal(name: str) -> ColumnElement[str]:
    return literal_column(f"'{name}'", Text)


class SqlMailStatus:
    """Counts by partial indexes, whatever the number of mails that were sent."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read(self) -> MailStatus:
        """The current numbers, ages and causes."""
        deferred = table.c.status == NotificationStatus.DEFERRED
        by_status = [
            *_count(),
            _age("queued_seconds", ~deferred),
            _age("deferred_seconds", deferred),
        ]
        waiting = await self._counts(select(*by_status).where(table.c.due_at.is_not(None)))
        failed = await self._counts(select(*_count()).where(is_unresolved()))
        return MailStatus(
            queued=waiting.queued,
            sending=waiting.sending,
            deferred=waiting.deferred,
            oldest_waiting_seconds=waiting.oldest_seconds,
            oldest_queued_seconds=waiting.queued_seconds,
            oldest_deferred_seconds=waiting.deferred_seconds,
            failed=failed.number,
            oldest_failed_seconds=failed.oldest_seconds,
            last_error=await self._last_error(
                _error().where(table.c.due_at.is_not(None), deferred).order_by(table.c.created_at)
            ),
            last_failure=await self._last_error(
                _error().where(is_unresolved()).order_by(table.c.notification_id.desc())
            ),
        )

    async def _counts(self, statement: Select[Any]) -> Row[Any]:
        row: Row[Any] = (await self._connection.execute(statement)).one()
        return row

    async def _last_error(self, statement: Select[Any]) -> str:
        return str(await self._connection.scalar(statement.limit(1)) or "")


def _error() -> Select[Any]:
    return select(table.c.last_error)


def _count() -> list[ColumnElement[Any]]:
    """The number of mails, also by status, and the age of the oldest in seconds."""
    by_status = [
        func.count().filter(table.c.status == status).label(status.lower())
        for status in (
            NotificationStatus.QUEUED,
            NotificationStatus.SENDING,
            NotificationStatus.DEFERRED,
        )
    ]
    return [
        func.count().label("number"),
        *by_status,
        _age("oldest_seconds", true()),
    ]


def _age(name: str, matches: ColumnElement[bool]) -> ColumnElement[float]:
    """The age of the oldest matching mail in seconds, 0 if there is none."""
    oldest = func.min(table.c.created_at).filter(matches)
    age = func.extract("epoch", func.clock_timestamp() - oldest)
    return cast(func.coalesce(age, 0), Float).label(name)
