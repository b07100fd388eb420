"""The publishing half of the outbox: committed events go to the broker in order, at least once.

Guarantee: an event leaves `outbox` only after the broker confirmed it. A crash between the two
publishes it again under the same id, which the inbox absorbs. One relay at a time per service
works, by a lease; one that lost it can't mark anything. Waking it after a commit is for speed only:
it polls, so that nothing depends on the wake-up.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from eventbus.broker import BatchRefused, BrokerUnavailable, EventRefused, Publisher
from eventbus.errors import describe_error
from eventbus.event import Event
from eventbus.outbox import blocked_by_parked
from eventbus.tables import BusTables

_log = structlog.get_logger(__name__)
_BATCH_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How the relay works. A killed relay's lease runs out after `lease_seconds`."""

    batch_size: int = 500
    poll_seconds: float = 0.5
    lease_seconds: float = 5.0
    watermark_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class _Row:
    position: int
    event: Event


class Relay:
    """Publishes one service's outbox."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        publisher: Publisher,
        settings: RelaySettings,
        watermark: Callable[[datetime], Event] | None = None,
    ) -> None:
        """`watermark` makes the event that says how complete the feed is; None sends none."""
        self.trouble = ""
        self._engine, self._publisher, self._settings = engine, publisher, settings
        self._outbox, self._published = tables.outbox, tables.outbox_published
        self._lease = tables.relay_lease
        self._watermark = watermark
        self._watermark_due = 0.0
        self._holder = str(ULID())
        self._woken = asyncio.Event()
        self._stopped = False

    def wake(self) -> None:
        """Says that something may have been committed."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after one last pass."""
        self._stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Publishes until stopped; outlives outages of the broker and the database."""
        troubles = 0
        while not self._stopped:
            self._woken.clear()
            try:
                moved = await self.publish_once()
                await self._publish_watermark()
                troubles, self.trouble = 0, ""
            except Exception as error:  # noqa: BLE001  rows wait in the outbox; nothing is lost
                troubles, moved = troubles + 1, 0
                self.trouble = describe_error(error)
                _log.warning("relay waits", error=self.trouble)
            if moved < self._settings.batch_size and not self._stopped:
                await self._wait(min(5.0, self._settings.poll_seconds * 2.0 ** min(troubles, 5)))
        await self._finish()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _finish(self) -> None:
        try:
            while await self.publish_once() >= self._settings.batch_size:
                pass
            async with self._engine.begin() as connection:
                await connection.execute(
                    delete(self._lease).where(self._lease.c.holder == self._holder)
                )
        except Exception as error:  # noqa: BLE001  the next start publishes the rest
            _log.warning("last relay pass failed", error=describe_error(error))

    async def publish_once(self) -> int:
        """One pass: publishes up to a batch and returns how many; 0 without the lease."""
        async with self._engine.begin() as connection:
            if not await self._hold_lease(connection):
                return 0
            rows = await self._next_rows(connection)
        confirmed = await self._publish(rows)
        await self._mark(confirmed)
        for row in confirmed:
            _log.info(
                "event published",
                event_type=row.event.type,
                event_id=row.event.id,
                order_id=row.event.key,
            )
        if len(confirmed) < len(rows):
            _log.warning("relay pass ended early", published=len(confirmed), of=len(rows))
        return len(confirmed)

    async def _hold_lease(self, connection: AsyncConnection) -> bool:
        lease = self._lease
        expiry = func.clock_timestamp() + timedelta(seconds=self._settings.lease_seconds)
        statement = upsert(lease).values(name="relay", holder=self._holder, expires_at=expiry)
        statement = statement.on_conflict_do_update(
            index_elements=[lease.c.name],
            set_={"holder": self._holder, "expires_at": expiry},
            where=or_(lease.c.holder == self._holder, lease.c.expires_at < func.clock_timestamp()),
        )
        return (await connection.execute(statement.returning(lease.c.name))).first() is not None

    async def _next_rows(self, connection: AsyncConnection) -> list[_Row]:
        outbox = self._outbox
        parked = outbox.alias("parked")
        behind_parked = exists().where(blocked_by_parked(parked, outbox))
        statement = (
            select(outbox)
            .where(~behind_parked)
            .order_by(outbox.c.position)
            .limit(self._settings.batch_size)
        )
        rows: list[_Row] = []
        size = 0
        for row in await connection.execute(statement):
            size += len(row.data)
            if rows and size > _BATCH_BYTES:
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
            rows.append(_Row(row.position, event))
        return rows

    async def _publish(self, rows: Sequence[_Row]) -> Sequence[_Row]:
        """Publishes in order and returns what the broker confirmed, a prefix without the parked."""
        if len(rows) > 1:
            try:
                await self._publisher.publish_batch([row.event for row in rows])
            except (BatchRefused, EventRefused) as error:
                # Usually a duplicate: published before, not marked. One by one finds out.
                _log.info("batch refused, published one by one", error=describe_error(error))
            else:
                return rows
        confirmed: list[_Row] = []
        parked: set[str] = set()
        for row in rows:
            if row.event.key and row.event.key in parked:
                continue
            try:
                await self._publisher.publish(row.event)
            except EventRefused as error:
                parked.add(row.event.key)
                await self._park(row, describe_error(error))
            except BrokerUnavailable as error:
                self.trouble = describe_error(error)
                await self._mark(confirmed)
                raise
            else:
                confirmed.append(row)
        return confirmed

    async def _park(self, row: _Row, reason: str) -> None:
        _log.error(
            "event refused for good and parked with its key",
            event_type=row.event.type,
            event_id=row.event.id,
            order_id=row.event.key,
            reason=reason,
        )
        async with self._engine.begin() as connection:
            await connection.execute(
                update(self._outbox)
                .where(self._outbox.c.position == row.position)
                .values(parked_reason=reason)
            )

    async def _mark(self, rows: Sequence[_Row]) -> None:
        """Moves rows to `outbox_published`, unless another relay holds the lease now."""
        if not rows:
            return
        lease, outbox, published = self._lease, self._outbox, self._published
        held = (
            select(lease.c.name).where(lease.c.holder == self._holder).with_for_update().cte("held")
        )
        moved = (
            delete(outbox)
            .where(outbox.c.position.in_([row.position for row in rows]))
            .where(exists(select(held.c.name)))
            .returning(*(column for column in outbox.columns if column.name != "parked_reason"))
            .cte("moved")
        )
        names = [column.name for column in moved.columns]
        # What was put back to be published again stands in `outbox_published` already, and keeps
        # its time there: it is forgotten before its inbox marks are. Only positions that aren't
        # new are looked up.
        kept = published.alias("kept")
        newest = select(func.coalesce(func.max(kept.c.position), 0)).scalar_subquery()
        known = exists().where(kept.c.position == moved.c.position)
        source = select(moved, func.clock_timestamp().label("published_at")).where(
            or_(moved.c.position > newest, ~known)
        )
        async with self._engine.begin() as connection:
            await connection.execute(
                insert(published).from_select([*names, "published_at"], source)
            )

    async def _publish_watermark(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._watermark is None or now < self._watermark_due:
            return
        as_of = await self._feed_complete_until()
        if as_of is not None:
            await self._publisher.publish(self._watermark(as_of))
        self._watermark_due = now + self._settings.watermark_seconds

    async def _feed_complete_until(self) -> datetime | None:
        """Up to when all that was committed is published; None without the lease.

        Parked events count: they were committed and stand in no stream, so that a later moment
        would be a lie. The price is that listeners' copies of everything grow stale until somebody
        has them tried again (`outbox.retry_parked`); standing still is the safe side.

        The clock is read first: what commits before it is visible to the second statement.
        """
        outbox, lease = self._outbox, self._lease
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="READ COMMITTED")
            clock: datetime = (
                await connection.execute(select(func.clock_timestamp()))
            ).scalar_one()
            oldest: datetime | None = (
                await connection.execute(select(func.min(outbox.c.recorded_at)))
            ).scalar_one()
            held = select(exists().where(lease.c.holder == self._holder))
            if not (await connection.execute(held)).scalar_one():
                return None
        return min(clock, oldest) if oldest else clock
