"""The outbox as the relay uses it: reads the next events, marks them published, or parks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Insert,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.event import Event
from eventbus.lease import RelayLease
from eventbus.outbox import is_blocked
from eventbus.tables import BusTables

_BATCH_BYTES = 8_000_000
# The outbox is empty most of the time, so that PostgreSQL has no statistics of it and assumes that
# nearly every event is parked: it would read and sort the whole backlog for each batch.
_BY_INDEX = [
    func.set_config(name, "off", True)
    for name in ("enable_seqscan", "enable_bitmapscan", "enable_sort")
]


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An unpublished event and its position in the outbox."""

    position: int
    event: Event


@dataclass(frozen=True, slots=True)
class OutboxBatch:
    """Unpublished events by position; `is_last` if there were no more of them."""

    entries: Sequence[OutboxEntry] = ()
    is_last: bool = True

    @property
    def events(self) -> list[Event]:
        return [entry.event for entry in self.entries]

    @property
    def last_position(self) -> int:
        return self.entries[-1].position if self.entries else 0


class UnpublishedEvents:
    """The unpublished events of one service, in the caller's transactions."""

    def __init__(self, tables: BusTables, lease: RelayLease) -> None:
        self._outbox, self._published, self._lease = tables.outbox, tables.outbox_published, lease
        # Built once: to build a statement costs more than to execute it.
        self._prepare = select(lease.held().label("is_held"), *_BY_INDEX)
        self._next, self._mark = self._next_statement(), self._mark_statement()

    def _next_statement(self) -> Select[Any]:
        outbox = self._outbox
        unblocked = ~is_blocked(outbox)
        statement = select(outbox).where(outbox.c.position > bindparam("after"), unblocked)
        return statement.order_by(outbox.c.position).limit(bindparam("limit", type_=BigInteger))

    async def next_batch(
        self, connection: AsyncConnection, limit: int, after: int = 0
    ) -> OutboxBatch:
        """The oldest events by position, up to `limit` and about 8 MB; none that is blocked.

        Only those after a position, and none if another relay holds the lease now.
        """
        if not (await connection.execute(self._prepare)).one().is_held:
            return OutboxBatch()
        rows = (await connection.execute(self._next, {"after": after, "limit": limit})).all()
        entries: list[OutboxEntry] = []
        size = 0
        for row in rows:
            size += len(row.data)
            if entries and size > _BATCH_BYTES:
                break
            event = Event(
                id=row.id,
                type=row.type,
                key=row.key,
                data=row.data,
                occurred_at=row.occurred_at,
                source=row.source,
                traceparent=row.traceparent,
            )
            entries.append(OutboxEntry(row.position, event))
        return OutboxBatch(entries, is_last=len(entries) < limit and len(entries) == len(rows))

    async def park(self, connection: AsyncConnection, position: int, reason: str) -> None:
        """Excludes an event, and later ones of its key, until `outbox.retry_parked`."""
        outbox = self._outbox
        statement = update(outbox).where(outbox.c.position == position)
        await connection.execute(statement.values(parked_reason=reason))

    async def mark_published(
        self, connection: AsyncConnection, entries: Sequence[OutboxEntry]
    ) -> None:
        """Moves events to `outbox_published`, unless another relay holds the lease now."""
        positions = [entry.position for entry in entries]
        await connection.execute(self._mark, {"positions": positions})

    def _mark_statement(self) -> Insert:
        outbox, published, lease = self._outbox, self._published, self._lease.locked()
        positions = bindparam("positions", type_=ARRAY(BigInteger))
        moved = (
            delete(outbox)
            .where(outbox.c.position == func.any(positions))
            .where(exists(select(lease.c.name)))
            .returning(*(column for column in outbox.columns if column.name != "parked_reason"))
            .cte("moved")
        )
        columns = [column.name for column in moved.columns]
        # A requeued event has its row in `outbox_published` already. That row keeps its time, so
        # that retention drops it before the event's inbox marks. Only positions that are not new
        # are looked up.
        original = published.alias("original")
        newest = select(func.coalesce(func.max(original.c.position), 0)).scalar_subquery()
        # By the index, once for each such event: PostgreSQL would read the whole table for EXISTS.
        same = select(original.c.position).where(original.c.position == moved.c.position).limit(1)
        is_not_requeued = same.scalar_subquery().is_(None)
        source = select(moved, func.clock_timestamp().label("published_at")).where(
            or_(moved.c.position > newest, is_not_requeued)
        )
        return insert(published).from_select([*columns, "published_at"], source)
