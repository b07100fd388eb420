"""Watermarks: events that state up to when a service's stream of events is complete.

Guarantee: an event that was committed before a watermark's moment is stored in the stream before
the watermark.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.broker import Publisher
from eventbus.event import Event
from eventbus.lease import RelayLease
from eventbus.tables import BusTables

BuildWatermark = Callable[[datetime], Event]


class WatermarkPublisher:
    """Publishes watermarks at an interval, past the outbox; only for the holder of the lease."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        lease: RelayLease,
        publisher: Publisher,
        build: BuildWatermark,
        interval_seconds: float,
    ) -> None:
        self._engine, self._outbox, self._lease = engine, tables.outbox, lease
        self._publisher, self._build, self._interval = publisher, build, interval_seconds
        self._due_at = 0.0

    async def publish_if_due(self) -> None:
        """Publishes one if the interval has passed; raises BrokerUnavailable or EventRefused."""
        now = asyncio.get_running_loop().time()
        if now < self._due_at:
            return
        complete_until = await self.complete_until()
        if complete_until is not None:
            await self._publisher.publish(self._build(complete_until))
        self._due_at = now + self._interval

    async def complete_until(self) -> datetime | None:
        """The moment before which every committed event is published; None without the lease.

        Parked events count: they are committed and not in the stream, so that a later moment would
        be wrong. While an event is parked, watermarks do not advance, and consumers' copies of the
        service's data count as stale, until an operator retries it (`outbox.retry_parked`).

        The clock is read first: what commits before that is visible to the second statement.
        """
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="READ COMMITTED")
            clock: datetime = (
                await connection.execute(select(func.clock_timestamp()))
            ).scalar_one()
            oldest: datetime | None = (
                await connection.execute(select(func.min(self._outbox.c.recorded_at)))
            ).scalar_one()
            if not await self._lease.is_held(connection):
                return None
        return min(clock, oldest) if oldest else clock
