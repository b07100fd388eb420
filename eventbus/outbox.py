"""The writing half of the outbox: an event is published if and only if its transaction commits.

It needs no broker. The publishing half is `eventbus.relay`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.bulk_insert import insert_rows
from eventbus.event import Event
from eventbus.tables import BusTables
from eventbus.trace_context import traceparent_for

# Below nats-server's default max_payload of 1 MiB, with room for subject and headers.
MAX_DATA_BYTES = 1_000_000


class EventTooLarge(ValueError):
    """An event's body exceeds the broker's limit; raised while the transaction can roll back."""


class Outbox:
    """Writes events inside the caller's transaction."""

    def __init__(self, tables: BusTables, max_data_bytes: int = MAX_DATA_BYTES) -> None:
        self._outbox = tables.outbox
        self._max_data_bytes = max_data_bytes

    async def publish(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Adds events in their order; raises EventTooLarge and then adds none.

        The caller has locked or changed the aggregate before, so that the positions of one
        aggregate's events follow its versions.
        """
        for event in events:
            if len(event.data) > self._max_data_bytes:
                raise EventTooLarge(
                    f"{event.type} {event.id} has {len(event.data)} bytes,"
                    f" {self._max_data_bytes} are allowed"
                )
        await insert_rows(connection, self._outbox, [_row(event) for event in events])


def _row(event: Event) -> dict[str, object]:
    return {
        "id": event.id,
        "type": event.type,
        "key": event.key,
        "data": event.data,
        "source": event.source,
        "traceparent": event.traceparent or traceparent_for(event.key),
        "occurred_at": event.occurred_at,
    }


@dataclass(frozen=True, slots=True)
class Backlog:
    """The unpublished events; `parked` counts parked events and those blocked by them."""

    count: int
    oldest_age_seconds: float
    parked: int


def is_blocked(outbox: Table) -> ColumnElement[bool]:
    """Whether an event is parked itself, or shares its key with a parked event.

    The keys are collected once per statement: a comparison of each event with the parked ones would
    read the whole backlog for each batch.
    """
    parked = outbox.alias("parked")
    keys = select(parked.c.key).where(parked.c.parked_reason.is_not(None), parked.c.key != "")
    return outbox.c.parked_reason.is_not(None) | outbox.c.key.in_(keys)


async def retry_parked(connection: AsyncConnection, tables: BusTables) -> int:
    """Unparks all parked events; returns how many events this unblocks, themselves included.

    In the caller's transaction. The relay parks an event again if the broker refuses it again.
    """
    unblocked = (await backlog(connection, tables)).parked
    outbox = tables.outbox
    statement = update(outbox).where(outbox.c.parked_reason.is_not(None))
    await connection.execute(statement.values(parked_reason=None))
    return unblocked


async def backlog(connection: AsyncConnection, tables: BusTables) -> Backlog:
    """Measures how far publishing is behind."""
    outbox = tables.outbox
    age = func.extract("epoch", func.clock_timestamp() - func.min(outbox.c.recorded_at))
    statement = select(
        func.count(), func.coalesce(age, 0.0), func.count().filter(is_blocked(outbox))
    )
    count, seconds, stuck = (await connection.execute(statement.select_from(outbox))).one()
    return Backlog(int(count), float(seconds), int(stuck))
