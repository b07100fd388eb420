"""The publishing half of the outbox: committed events go to the broker in order, at least once.

Guarantee: an event leaves `outbox` only after the broker has confirmed it. After a crash between
the two, the event is published again under the same id, and the inbox ignores the duplicate. One
relay per service works at a time, by a lease; a relay that lost it cannot mark events as published.
Waking the relay after a commit only reduces latency: it polls, so that nothing depends on it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.broker import BatchRefused, BrokerUnavailable, EventRefused, Publisher
from eventbus.errors import describe_error
from eventbus.lease import RelayLease
from eventbus.tables import BusTables
from eventbus.unpublished import OutboxEntry, UnpublishedEvents
from eventbus.watermark import BuildWatermark, WatermarkPublisher

_log = structlog.get_logger(__name__)
_MAX_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How the relay works. The lease of a killed relay expires after `lease_seconds`."""

    batch_size: int = 500
    poll_seconds: float = 0.5
    lease_seconds: float = 5.0
    watermark_seconds: float = 2.0


class Relay:
    """Publishes one service's outbox. `current_error` is "" while it works."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        publisher: Publisher,
        settings: RelaySettings,
        watermark: BuildWatermark | None = None,
    ) -> None:
        """`watermark` builds the event that states up to when the stream is complete, if given."""
        self.current_error = ""
        self._engine, self._publisher, self._settings = engine, publisher, settings
        self._lease = RelayLease(tables, settings.lease_seconds)
        self._unpublished = UnpublishedEvents(tables, self._lease)
        self._watermarks = watermark and WatermarkPublisher(
            engine, tables, self._lease, publisher, watermark, settings.watermark_seconds
        )
        self._woken = asyncio.Event()
        self._stopped = False

    def wake(self) -> None:
        """Ends the current pause between passes; call it after a commit."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after a final pass."""
        self._stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Publishes until stopped; survives outages of the broker and the database."""
        consecutive_failures = 0
        while not self._stopped:
            self._woken.clear()
            try:
                published = await self.publish_once()
                if self._watermarks:
                    await self._watermarks.publish_if_due()
                consecutive_failures, self.current_error = 0, ""
            except Exception as error:  # noqa: BLE001  events stay in the outbox
                consecutive_failures, published = consecutive_failures + 1, 0
                self.current_error = describe_error(error)
                _log.warning("relay retrying", error=self.current_error)
            if published < self._settings.batch_size and not self._stopped:
                await self._pause(consecutive_failures)
        await self._finish()

    async def _pause(self, consecutive_failures: int) -> None:
        seconds = self._settings.poll_seconds * 2.0 ** min(consecutive_failures, 5)
        try:
            await asyncio.wait_for(self._woken.wait(), min(_MAX_PAUSE_SECONDS, seconds))
        except TimeoutError:
            return

    async def _finish(self) -> None:
        try:
            while await self.publish_once() >= self._settings.batch_size:
                pass
            async with self._engine.begin() as connection:
                await self._lease.release(connection)
        except Exception as error:  # noqa: BLE001  the next relay publishes the rest
            _log.warning("final relay pass failed", error=describe_error(error))

    async def publish_once(self) -> int:
        """One pass: publishes up to one batch; returns how many events, 0 without the lease."""
        async with self._engine.begin() as connection:
            if not await self._lease.acquire(connection):
                return 0
            entries = await self._unpublished.next_batch(connection, self._settings.batch_size)
        confirmed = await self._publish(entries)
        await self._mark_published(confirmed)
        for entry in confirmed:
            _log.info("event published", **entry.event.log_fields())
        if len(confirmed) < len(entries):
            _log.warning("relay pass incomplete", published=len(confirmed), of=len(entries))
        return len(confirmed)

    async def _publish(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        """Publishes in order; returns what the broker confirmed: all but parked and blocked."""
        if len(entries) > 1:
            try:
                await self._publisher.publish_batch([entry.event for entry in entries])
            except (BatchRefused, EventRefused) as error:
                # Usually an event that was published and not marked. Single publishes skip it.
                _log.info("batch refused", size=len(entries), error=describe_error(error))
            else:
                return entries
        return await self._publish_singly(entries)

    async def _publish_singly(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        confirmed: list[OutboxEntry] = []
        parked_keys: set[str] = set()
        for entry in entries:
            if entry.event.key and entry.event.key in parked_keys:
                continue
            try:
                await self._publisher.publish(entry.event)
            except EventRefused as error:
                parked_keys.add(entry.event.key)
                await self._park(entry, describe_error(error))
            except BrokerUnavailable as error:
                self.current_error = describe_error(error)
                await self._mark_published(confirmed)
                raise
            else:
                confirmed.append(entry)
        return confirmed

    async def _park(self, entry: OutboxEntry, reason: str) -> None:
        _log.error("event parked", reason=reason, **entry.event.log_fields())
        async with self._engine.begin() as connection:
            await self._unpublished.park(connection, entry.position, reason)

    async def _mark_published(self, entries: Sequence[OutboxEntry]) -> None:
        if entries:
            async with self._engine.begin() as connection:
                await self._unpublished.mark_published(connection, entries)
