"""Retention of the bus's rows: inbox marks outlive everything that may deliver their event again.

Rule: inbox > outbox_published, and inbox > the streams' `max_age`; the mark of an open dead letter
is always kept. A service rejects settings of its own that break the rule; operators check the
streams' `max_age` and other services' settings. `BusReconciliation` compares nothing that is older
than the marks (`Consumer.marks_kept_since`).
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Delete, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.tables import DEAD, BusTables

_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """Days for which published events and inbox marks are kept."""

    published_days: int = 7
    inbox_days: int = 30


class Retention:
    """Deletes rows that the bus no longer needs; `sweep` is called periodically."""

    def __init__(self, engine: AsyncEngine, tables: BusTables, settings: RetentionSettings) -> None:
        self._engine, self._settings = engine, settings
        self._inbox, self._dead_letters = tables.inbox, tables.dead_letters
        self._rotate = text(f"SELECT {tables.inbox.schema}.rotate_outbox_published(:days)")

    async def sweep(self) -> None:
        """Drops days of published events and resolved dead letters, and marks in small batches."""
        async with self._engine.begin() as connection:
            await connection.execute(self._rotate, {"days": self._settings.published_days})
            await connection.execute(self._delete_resolved())
        while await self._delete_marks() == _BATCH:
            pass

    def _delete_resolved(self) -> Delete:
        """Resolved dead letters expire: events may contain secrets and addresses."""
        age = timedelta(days=self._settings.inbox_days)
        dead_letters = self._dead_letters
        # `resolved_at` is NULL while a dead letter is open.
        return delete(dead_letters).where(dead_letters.c.resolved_at < func.now() - age)

    async def _delete_marks(self) -> int:
        inbox = self._inbox
        age = timedelta(days=self._settings.inbox_days)
        # An open dead letter keeps its mark: without it the event could be handled after all.
        old = (
            select(inbox.c.consumer, inbox.c.event_id)
            .where(inbox.c.received_at < func.now() - age, inbox.c.state != DEAD)
            .limit(_BATCH)
            .cte("old")
        )
        statement = delete(inbox).where(
            inbox.c.consumer == old.c.consumer, inbox.c.event_id == old.c.event_id
        )
        async with self._engine.begin() as connection:
            return (await connection.execute(statement)).rowcount
