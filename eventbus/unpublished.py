"""The outbox as the relay uses it: reads the next events, marks them published, or parks them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.event import Event
from eventbus.lease import RelayLease
from eventbus.outbox import blocked_by_parked
from eventbus.tables import BusTables

_BATCH_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An unpublished event and its position in the outbox."""

    position: int
    event: Event


class UnpublishedEvents:
    """The unpublished events of one service, in the caller's transactions."""

    def __init__(self, tables: BusTables, lease: RelayLease) -> None:
        self._outbox, self._published, self._lease = tables.outbox, tables.outbox_published, lease

    async def next_batch(self, connection: AsyncConnection, limit: int) -> list[OutboxEntry]:
        """The oldest events by position, up to `limit` and about 8 MB; none that is blocked."""
        outbox = self._outbox
        blocked = exists().where(blocked_by_parked(outbox.alias("parked"), outbox))
        statement = select(outbox).where(~blocked).order_by(outbox.c.position).limit(limit)
        entries: list[OutboxEntry] = []
        size = 0
        for row in await connection.execute(statement):
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
        return entries

    async def park(self, connection: AsyncConnection, position: int, reason: str) -> None:
        """Excludes an event, and later ones of its key, until `outbox.retry_parked`."""
        outbox = self._outbox
        statement = update(outbox).where(outbox.c.position == position)
        await connection.execute(statement.values(parked_reason=reason))

    async def mark_published(
        self, connection: AsyncConnection, entries: Sequence[OutboxEntry]
    ) -> None:
        """Moves events to `outbox_published`, unless another relay holds the lease now."""
        outbox, published, lease = self._outbox, self._published, self._lease.locked()
        moved = (
            delete(outbox)
            .where(outbox.c.position.in_([entry.position for entry in entries]))
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
        requeued = exists().where(original.c.position == moved.c.position)
        source = select(moved, func.clock_timestamp().label("published_at")).where(
            or_(moved.c.position > newest, ~requeued)
        )
        await connection.execute(insert(published).from_select([*columns, "published_at"], source))
