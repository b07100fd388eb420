"""The publishing half of the outbox: committed events go to the broker in order, at least once.

Guarantee: an event leaves `outbox` only after the broker has confirmed it. After a crash between
the two, the event is published again under the same id, and the inbox ignores the duplicate. One
relay per service works at a time, by a lease; a relay that lost it cannot mark events as published.
Waking the relay after a commit only reduces latency, also that of another process by a signal: it
polls, so that nothing depends on it.

Batches are published one after the other, in order. While one is published, the one before it is
marked and the next one is read.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.batch_log import log_events
from eventbus.broker import (
    BatchRefused,
    BrokerUnavailable,
    EventRefused,
    Publisher,
    RelaySignal,
)
from eventbus.counts import RelayCounts
from eventbus.errors import describe_error
from eventbus.lease import RelayLease
from eventbus.tables import BusTables
from eventbus.unpublished import OutboxBatch, OutboxEntry, UnpublishedEvents
from eventbus.watermark import BuildWatermark, WatermarkPublisher

_log = structlog.get_logger(__name__)
_MAX_PAUSE_SECONDS = 5.0
_PASS_BATCHES = 20
A = TypeVar("A")
B = TypeVar("B")


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
        signal: RelaySignal | None = None,
    ) -> None:
        """`watermark` builds the event that states up to when the stream is complete, if given.

        With `signal`, waking a relay that lacks the lease wakes the one that has it.
        """
        self.current_error = ""
        self.counts = RelayCounts()
        self._engine, self._publisher, self._settings = engine, publisher, settings
        self._lease = RelayLease(tables, settings.lease_seconds)
        self._unpublished = UnpublishedEvents(tables, self._lease)
        self._watermarks = watermark and WatermarkPublisher(
            engine, tables, self._lease, publisher, watermark, settings.watermark_seconds
        )
        self._lease_due_at = 0.0
        self._woken = asyncio.Event()
        self._has_lease = self._stopped = False
        self._signal = signal
        if signal:
            signal.on_receive(self._on_signal)

    def wake(self) -> None:
        """Ends the current pause between passes; call it after a commit."""
        self._woken.set()

    def _on_signal(self) -> None:
        if self._has_lease:
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
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_MAX_PAUSE_SECONDS, seconds)):
                await self._woken.wait()
                while self._signal and not (self._has_lease or self._stopped):
                    self._woken.clear()
                    await self._signal.send()
                    await self._woken.wait()

    async def _finish(self) -> None:
        try:
            while await self.publish_once() >= self._settings.batch_size:
                pass
            async with self._engine.begin() as connection:
                await self._lease.release(connection)
        except Exception as error:  # noqa: BLE001  the next relay publishes the rest
            _log.warning("final relay pass failed", error=describe_error(error))

    async def publish_once(self) -> int:
        """One pass over the outbox, oldest first; returns how many events, 0 without the lease.

        It ends early after some batches, so that events that committed late and watermarks get
        their turn, and if an event was not published, so that later ones of its key wait.
        """
        if not await self._renew_lease():
            return 0
        published, confirmed = 0, list[OutboxEntry]()
        batch = await self._mark_and_read([], OutboxBatch(is_last=False))
        for _ in range(_PASS_BATCHES):
            if not batch.entries:
                break
            previous, confirmed = confirmed, []
            confirmed, following = await _both(
                self._publish(batch), self._mark_and_read(previous, batch)
            )
            published += len(confirmed)
            self.counts.published += len(confirmed)
            self._log_published(confirmed, batch)
            if len(confirmed) < len(batch.entries) or self._is_lease_due():
                break
            batch = following
        await self._mark_published(confirmed)
        return published

    async def _renew_lease(self) -> bool:
        """Whether this relay has the lease, which it renews after half of its time."""
        if not self._is_lease_due():
            return True
        now = asyncio.get_running_loop().time()
        async with self._engine.begin() as connection:
            held = await self._lease.acquire(connection)
        self._lease_due_at = now + self._settings.lease_seconds / 2 if held else 0.0
        self._has_lease = held
        return held

    def _is_lease_due(self) -> bool:
        """Whether the lease may end before a batch that is published now is marked."""
        return asyncio.get_running_loop().time() >= self._lease_due_at

    async def _mark_and_read(
        self, confirmed: Sequence[OutboxEntry], batch: OutboxBatch
    ) -> OutboxBatch:
        """Marks the events before a batch, and reads those after it, in one transaction."""
        if batch.is_last:
            await self._mark_published(confirmed)
            return OutboxBatch()
        async with self._engine.begin() as connection:
            if confirmed:
                await self._unpublished.mark_published(connection, confirmed)
            limit, after = self._settings.batch_size, batch.last_position
            return await self._unpublished.next_batch(connection, limit, after)

    @staticmethod
    def _log_published(confirmed: Sequence[OutboxEntry], batch: OutboxBatch) -> None:
        span = {
            "first_position": batch.entries[0].position,
            "last_position": batch.last_position,
        }
        events = [entry.event for entry in confirmed]
        log_events(_log, "events published", "event published", events, **span)
        if len(confirmed) < len(batch.entries):
            of = len(batch.entries)
            _log.warning("relay pass incomplete", published=len(confirmed), of=of, **span)

    async def _publish(self, batch: OutboxBatch) -> list[OutboxEntry]:
        """Publishes in order; returns what the broker confirmed: all but parked and blocked."""
        entries = list(batch.entries)
        if len(entries) > 1:
            try:
                await self._publisher.publish_batch(batch.events)
            except (BatchRefused, EventRefused) as error:
                # Usually an event that was published and not marked. Single publishes skip it.
                _log.info("batch refused", size=len(entries), error=describe_error(error))
            else:
                return entries
        return await self._publish_singly(entries)

    async def _publish_singly(self, entries: Sequence[OutboxEntry]) -> list[OutboxEntry]:
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


async def _both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Waits for both; if one fails, the other is completed before the error is raised."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]
