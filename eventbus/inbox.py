"""The inbox: the events that a consumer has processed, and failed attempts at others.

Guarantee of a single effect: `claim` runs in the transaction of the effect, and waits until a
competing transaction has ended before it returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
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

from eventbus.bulk_insert import DO_NOTHING, insert_rows
from eventbus.tables import HANDLED, BusTables

_CRASHED = "the process ended during the attempt"


@dataclass(frozen=True, slots=True)
class Mark:
    """What an inbox row records of an event besides its state."""

    event_id: str
    key: str
    stream_sequence: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that begins: the failures counted before it, and the error of the last one."""

    failures: int
    last_error: str


class AttemptInProgress(Exception):
    """Another process is attempting the event now."""


class Inbox:
    """One consumer's inbox rows, in the caller's transactions."""

    def __init__(self, tables: BusTables, consumer: str) -> None:
        self._inbox, self._attempts, self._consumer = tables.inbox, tables.attempts, consumer

    async def claim(
        self, connection: AsyncConnection, marks: Sequence[Mark], state: str = HANDLED
    ) -> set[str]:
        """Marks events and returns the ids of those that were not marked before.

        The rows are sorted: two replicas that claim the same ids would deadlock otherwise.
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
        return await insert_rows(connection, self._inbox, rows, DO_NOTHING, returning="event_id")

    async def change_state(
        self, connection: AsyncConnection, event_id: str, before: str, after: str
    ) -> bool:
        """Compare-and-set of an event's state; False if it was not `before`."""
        statement = (
            update(self._inbox)
            .where(self._inbox.c.consumer == self._consumer)
            .where(self._inbox.c.event_id == event_id, self._inbox.c.state == before)
            .values(state=after)
        )
        return bool((await connection.execute(statement)).rowcount)

    async def marked(self, connection: AsyncConnection, event_ids: Sequence[str]) -> set[str]:
        """Which of some events are marked, in any state."""
        statement = select(self._inbox.c.event_id).where(
            self._inbox.c.consumer == self._consumer,
            self._inbox.c.event_id == func.any(bindparam("ids", list(event_ids), ARRAY(Text))),
        )
        return set((await connection.execute(statement)).scalars())

    async def failures(
        self, connection: AsyncConnection, event_ids: Sequence[str], worker_id: str
    ) -> dict[str, int]:
        """The failures of events that have had an attempt, crashed attempts of others included."""
        attempts = self._attempts
        crashed = case((_crashed(attempts, worker_id), 1), else_=0)
        count = (attempts.c.failures + crashed).label("failures")
        statement = select(attempts.c.event_id, count).where(
            attempts.c.consumer == self._consumer, attempts.c.event_id.in_(event_ids)
        )
        rows = await connection.execute(statement)
        return {row.event_id: row.failures for row in rows}

    async def begin_attempt(
        self, connection: AsyncConnection, event_id: str, worker_id: str
    ) -> Attempt | None:
        """Records that this process attempts an event now; None if the event is marked.

        An attempt that another process began, never ended and does not hold any more has crashed
        it: it counts as a failure. Raises AttemptInProgress if the other process holds it.
        """
        if await self.marked(connection, [event_id]):
            await self.delete_attempts(connection, [event_id])
            return None
        await self._refuse_if_held(connection, event_id)
        attempts = self._attempts
        crashed = _crashed(attempts, worker_id)
        statement = (
            insert(attempts)
            .values(
                consumer=self._consumer,
                event_id=event_id,
                failures=0,
                worker_id=worker_id,
                started_at=func.clock_timestamp(),
            )
            .on_conflict_do_update(
                index_elements=[attempts.c.consumer, attempts.c.event_id],
                set_={
                    "failures": attempts.c.failures + case((crashed, 1), else_=0),
                    "last_error": case((crashed, _CRASHED), else_=attempts.c.last_error),
                    "worker_id": worker_id,
                    "started_at": func.clock_timestamp(),
                },
            )
            .returning(attempts.c.failures, attempts.c.last_error)
        )
        row = (await connection.execute(statement)).one()
        return Attempt(row.failures, row.last_error)

    async def hold_attempt(self, connection: AsyncConnection, event_id: str) -> None:
        """Holds the record of an attempt until the end of the transaction that handles the event.

        So other processes see that the attempt is in progress. When a process ends, PostgreSQL
        ends its transaction.
        """
        await connection.execute(self._attempt(event_id).with_for_update())

    async def _refuse_if_held(self, connection: AsyncConnection, event_id: str) -> None:
        attempt = self._attempt(event_id)
        free = await connection.execute(attempt.with_for_update(skip_locked=True))
        if free.first() is None and (await connection.execute(attempt)).first() is not None:
            raise AttemptInProgress(event_id)

    def _attempt(self, event_id: str) -> Select[Any]:
        return select(self._attempts.c.event_id).where(
            self._attempts.c.consumer == self._consumer, self._attempts.c.event_id == event_id
        )

    async def end_attempt(
        self, connection: AsyncConnection, event_id: str, error: str, *, counted: bool
    ) -> int:
        """Records a failed attempt, counted or not; returns the failures counted so far."""
        statement = (
            update(self._attempts)
            .where(self._attempts.c.consumer == self._consumer)
            .where(self._attempts.c.event_id == event_id)
            .values(
                worker_id=None,
                failures=self._attempts.c.failures + int(counted),
                last_error=func.left(error, 500),
            )
            .returning(self._attempts.c.failures)
        )
        return (await connection.execute(statement)).scalar_one_or_none() or 0

    async def delete_attempts(self, connection: AsyncConnection, event_ids: Sequence[str]) -> None:
        """Deletes the records of attempts at events that are marked."""
        await connection.execute(
            delete(self._attempts)
            .where(self._attempts.c.consumer == self._consumer)
            .where(self._attempts.c.event_id.in_(event_ids))
        )

    async def later_handled(
        self, connection: AsyncConnection, key: str, stream_sequence: int
    ) -> bool:
        """Whether later events of a key were handled; False for the empty key."""
        if not key:
            return False
        statement = select(self._inbox.c.event_id).where(
            self._inbox.c.consumer == self._consumer,
            self._inbox.c.key == key,
            self._inbox.c.state == HANDLED,
            self._inbox.c.stream_sequence > stream_sequence,
        )
        return (await connection.execute(statement.limit(1))).first() is not None


def _crashed(attempts: Table, worker_id: str) -> ColumnElement[bool]:
    """Whether another process began an attempt and never ended it.

    Not if the database has started since: then its outage prevented the end from being recorded.
    """
    return (
        attempts.c.worker_id.is_not(None)
        & (attempts.c.worker_id != worker_id)
        & (attempts.c.started_at > func.pg_postmaster_start_time())
    )
