"""The inbox: which events a consumer is done with, and the tries that failed.

`claim` is the guarantee of single effect: it runs in the transaction of the effect, and waits for
a competing one to end before it tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    bindparam,
    case,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.tables import HANDLED, BusTables


@dataclass(frozen=True, slots=True)
class Mark:
    """What an inbox row says of an event beside its state."""

    event_id: str
    key: str
    stream_sequence: int


class Inbox:
    """One consumer's inbox rows."""

    def __init__(self, tables: BusTables, consumer: str) -> None:
        self._inbox, self._attempts, self._consumer = tables.inbox, tables.attempts, consumer

    async def claim(
        self, connection: AsyncConnection, marks: Sequence[Mark], state: str = HANDLED
    ) -> set[str]:
        """Marks events and returns the ids of those that weren't marked before.

        Sorted: two replicas that claim the same ids would deadlock otherwise.
        """
        rows = [
            {
                "consumer": self._consumer,
                "event_id": mark.event_id,
                "state": state,
                "key": mark.key,
                "stream_sequence": mark.stream_sequence,
            }
            for mark in sorted(marks, key=lambda mark: mark.event_id)
        ]
        if not rows:
            return set()
        statement = insert(self._inbox).values(rows).on_conflict_do_nothing()
        claimed = await connection.execute(statement.returning(self._inbox.c.event_id))
        return set(claimed.scalars())

    async def change_state(
        self, connection: AsyncConnection, event_id: str, before: str, after: str
    ) -> bool:
        """Compare-and-set of an event's state; False if it wasn't `before`."""
        statement = (
            update(self._inbox)
            .where(self._inbox.c.consumer == self._consumer)
            .where(self._inbox.c.event_id == event_id, self._inbox.c.state == before)
            .values(state=after)
        )
        return bool((await connection.execute(statement)).rowcount)

    async def is_marked(self, connection: AsyncConnection, event_id: str) -> bool:
        """Whether the consumer is done with an event."""
        statement = select(self._inbox.c.event_id).where(
            self._inbox.c.consumer == self._consumer, self._inbox.c.event_id == event_id
        )
        return (await connection.execute(statement)).first() is not None

    async def marked(self, connection: AsyncConnection, event_ids: Sequence[str]) -> set[str]:
        """Which of some events the consumer is done with, however it was."""
        statement = select(self._inbox.c.event_id).where(
            self._inbox.c.consumer == self._consumer,
            self._inbox.c.event_id == func.any(bindparam("ids", list(event_ids), ARRAY(Text))),
        )
        return set((await connection.execute(statement)).scalars())

    async def failures(
        self, connection: AsyncConnection, event_ids: Sequence[str], runner: str
    ) -> dict[str, int]:
        """The failures of events that have some; an unended try of another process counts."""
        attempts = self._attempts
        crashed = case((_crashed(attempts, runner), 1), else_=0)
        count = (attempts.c.failures + crashed).label("failures")
        statement = select(attempts.c.event_id, count).where(
            attempts.c.consumer == self._consumer, attempts.c.event_id.in_(event_ids)
        )
        rows = await connection.execute(statement)
        return {row.event_id: row.failures for row in rows}

    async def begin_attempt(self, connection: AsyncConnection, event_id: str, runner: str) -> int:
        """Notes that this process tries an event now; returns the failures charged so far.

        A try that another process began and never ended crashed it, and is charged.
        """
        attempts = self._attempts
        crashed = _crashed(attempts, runner)
        crash = "the process ended while it handled the event"
        statement = (
            insert(attempts)
            .values(
                consumer=self._consumer,
                event_id=event_id,
                failures=0,
                runner=runner,
                began_at=func.clock_timestamp(),
            )
            .on_conflict_do_update(
                index_elements=[attempts.c.consumer, attempts.c.event_id],
                set_={
                    "failures": attempts.c.failures + case((crashed, 1), else_=0),
                    "last_error": case((crashed, crash), else_=attempts.c.last_error),
                    "runner": runner,
                    "began_at": func.clock_timestamp(),
                },
            )
            .returning(attempts.c.failures)
        )
        return int((await connection.execute(statement)).scalar_one())

    async def end_attempt(
        self, connection: AsyncConnection, event_id: str, error: str, *, charged: bool
    ) -> int:
        """Notes that a try failed, charged to the event or not; returns the failures charged."""
        statement = (
            update(self._attempts)
            .where(self._attempts.c.consumer == self._consumer)
            .where(self._attempts.c.event_id == event_id)
            .values(
                runner=None,
                failures=self._attempts.c.failures + int(charged),
                last_error=func.left(error, 500),
            )
            .returning(self._attempts.c.failures)
        )
        return (await connection.execute(statement)).scalar_one_or_none() or 0

    async def forget_attempts(self, connection: AsyncConnection, event_ids: Sequence[str]) -> None:
        """Drops the notes about events that are done with."""
        await connection.execute(
            delete(self._attempts)
            .where(self._attempts.c.consumer == self._consumer)
            .where(self._attempts.c.event_id.in_(event_ids))
        )

    async def later_handled(
        self, connection: AsyncConnection, key: str, stream_sequence: int
    ) -> bool:
        """Whether later events of a key were handled."""
        if not key:
            return False
        statement = select(self._inbox.c.event_id).where(
            self._inbox.c.consumer == self._consumer,
            self._inbox.c.key == key,
            self._inbox.c.state == HANDLED,
            self._inbox.c.stream_sequence > stream_sequence,
        )
        return (await connection.execute(statement.limit(1))).first() is not None


def _crashed(attempts: Table, runner: str) -> ColumnElement[bool]:
    """Whether another process began a try and never ended it.

    If the database has started since, it was the database that ended: nobody could note that.
    """
    return (
        attempts.c.runner.is_not(None)
        & (attempts.c.runner != runner)
        & (attempts.c.began_at > func.pg_postmaster_start_time())
    )
