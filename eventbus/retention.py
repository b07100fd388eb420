"""How long the bus inbox_retention: inbox > outbox_published + stream max_age + open dead letters.

So long may an event come again, and find its mark. A service refuses settings of its own that break
this; the streams' `max_age` and other services' settings are the operators' to keep. CheckBus looks
at nothing that is older than the marks (`Consumer.marks_kept_since`).
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Delete, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.tables import DEAD, BusTables

_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """For how long the bus inbox_retention."""

    published_days: int = 7
    inbox_days: int = 30


class Retention:
    """Drops what the bus no longer needs; to be swept from time to time."""

    def __init__(self, engine: AsyncEngine, tables: BusTables, settings: RetentionSettings) -> None:
        self._engine, self._settings = engine, settings
        self._inbox, self._letters = tables.inbox, tables.dead_letters
        self._rotate = text(f"SELECT {tables.inbox.schema}.rotate_outbox_published(:days)")

    async def sweep(self) -> None:
        """Drops days of published events, decided dead letters, and marks in small batches."""
        async with self._engine.begin() as connection:
            await connection.execute(self._rotate, {"days": self._settings.published_days})
            await connection.execute(self._decided())
        while await self._drop_marks() == _BATCH:
            pass

    def _decided(self) -> Delete:
        """Dead letters hold whole events, codes and addresses among them: not for ever."""
        age = timedelta(days=self._settings.inbox_days)
        letters = self._letters
        # `resolved_at` is NULL while a dead letter is open.
        return delete(letters).where(letters.c.resolved_at < func.now() - age)

    async def _drop_marks(self) -> int:
        inbox = self._inbox
        age = timedelta(days=self._settings.inbox_days)
        # An open dead letter keeps its mark: without it the event could come to life again.
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
