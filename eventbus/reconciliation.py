"""Compares published events with the stream, and acknowledged messages with the inbox.

Guarantees: an event reported as lost was confirmed by the broker and is not in the stream now,
although the stream's `max_age` has not passed. A message reported as unhandled is acknowledged and
has no mark in the consumer's inbox. Events in transit are neither: published rows are read before
the stream, and the acknowledgement floor before the marks. Repair uses the normal paths, outbox and
relay or claim and handler in one transaction: nothing has a second effect.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row, exists, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.broker import StoredMessage, StreamReader
from eventbus.consumer import Consumer
from eventbus.event import ID_HEADER
from eventbus.identity import identify
from eventbus.inbox import Inbox
from eventbus.requeue import Republisher
from eventbus.tables import BusTables

_log = structlog.get_logger(__name__)
_COMPARE_BATCH = 1000
_REPAIR_BATCH = 200
# Possible difference between the clocks of database, broker and this process.
_CLOCK_SKEW = timedelta(minutes=1)
# The published events of this time are compared at once, however many there are. A shorter one
# would read more of the stream twice: it is read from before the window until after it.
_WINDOW = timedelta(minutes=10)
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MissingEvent:
    """A lost event, if `consumer` is "", or one that the consumer has not handled.

    `published_at` of an unhandled event is the moment when its message was stored.
    """

    event_id: str
    event_type: str
    key: str
    stream: str
    consumer: str
    published_at: datetime
    repaired: bool = False


@dataclass
class Findings:
    """All missing events, and how many published events and messages were compared."""

    lost: list[MissingEvent] = field(default_factory=list)
    unhandled: list[MissingEvent] = field(default_factory=list)
    published_count: int = 0
    message_count: int = 0


class BusReconciliation:
    """Reconciles one service's outbox and inboxes with the broker's streams."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        stream_reader: Callable[[str], StreamReader],
        consumers: Sequence[Consumer],
        own_stream: str,
        after_requeue: Callable[[], None] = lambda: None,
    ) -> None:
        """`stream_reader` opens a stream by name; `own_stream` has the service's own events."""
        self._engine, self._tables, self._stream_reader = engine, tables, stream_reader
        self._consumers, self._own_stream = consumers, own_stream
        self._after_requeue = after_requeue

    async def run(self, since: datetime, *, repair: bool) -> Findings:
        """Compares what was published and stored since a moment; raises BrokerUnavailable."""
        findings = Findings()
        await self._find_lost(findings, since, repair=repair)
        for consumer in self._consumers:
            await self._find_unhandled(findings, consumer, since, repair=repair)
        _log.info(
            "bus reconciled",
            lost=len(findings.lost),
            unhandled=len(findings.unhandled),
            repair=repair,
        )
        return findings

    async def _find_lost(self, findings: Findings, since: datetime, *, repair: bool) -> None:
        reader = self._stream_reader(self._own_stream)
        bounds = await reader.bounds()
        kept_since = _EARLIEST
        if bounds.max_age_seconds:
            kept_since = datetime.now(UTC) - timedelta(seconds=bounds.max_age_seconds) + _CLOCK_SKEW
        rows: dict[str, Row[Any]] = {}
        async for published in self._published(since):
            kept = {row.id: row for row in published if row.recorded_at > kept_since}
            findings.published_count += len(kept)
            if kept:
                until = max(row.published_at for row in published) + _CLOCK_SKEW
                rows |= await self._without_message(reader, kept, until)
        if rows:  # lost, or published again long after the first time
            rows = await self._without_message(reader, rows)
        lost = sorted(rows.values(), key=lambda row: row.position)
        if lost and repair:
            async with self._engine.begin() as connection:
                positions = [row.position for row in lost]
                await Republisher(self._tables).requeue(connection, positions)
            self._after_requeue()
        findings.lost = [
            MissingEvent(row.id, row.type, row.key, self._own_stream, "", row.published_at, repair)
            for row in lost
        ]

    async def _without_message(
        self, reader: StreamReader, rows: dict[str, Row[Any]], until: datetime = _LATEST
    ) -> dict[str, Row[Any]]:
        """Those of the rows, by event id, that have no message which was stored until then."""
        # Read from the time of recording: a message is never older than that. Its publication may
        # have been recorded much later, if a relay ended between confirmation and mark.
        recorded = min(row.recorded_at for row in rows.values())
        missing = dict(rows)
        if first := await reader.first_since(recorded - _CLOCK_SKEW):
            after = await reader.first_since(until)
            last = after - 1 if after else (await reader.bounds()).last
            async for stored in reader.read(first, last):
                headers = stored.message.headers
                missing.pop(headers.get("ce-id") or headers.get(ID_HEADER, ""), None)
        return missing

    async def _published(self, since: datetime) -> AsyncIterator[Sequence[Row[Any]]]:
        """Published events that are not waiting to be published again, by windows of time."""
        outbox, published = self._tables.outbox, self._tables.outbox_published
        columns = [published.c[name] for name in ("position", "id", "type", "key")]
        times = [published.c.recorded_at, published.c.published_at]
        requeued = exists().where(outbox.c.position == published.c.position)
        statement = select(*columns, *times).where(~requeued)
        first = select(func.min(published.c.published_at))
        while True:
            async with self._engine.connect() as connection:
                start = await connection.scalar(first.where(published.c.published_at >= since))
                if start is None:
                    return
                since = start + _WINDOW
                window = published.c.published_at >= start, published.c.published_at < since
                rows = (await connection.execute(statement.where(*window))).all()
            yield rows

    async def _find_unhandled(
        self, findings: Findings, consumer: Consumer, since: datetime, *, repair: bool
    ) -> None:
        unmarked: list[StoredMessage] = []
        async for batch in _batches(self._acknowledged(consumer, since)):
            findings.message_count += len(batch)
            unmarked += await self._without_mark(consumer, batch)
        missing = [_unhandled(stored, consumer.name) for stored in unmarked]
        if unmarked and repair:
            await _handle(consumer, unmarked)
            still_unmarked = await self._without_mark(consumer, unmarked)
            unrepaired = {stored.message.stream_sequence for stored in still_unmarked}
            missing = [
                replace(event, repaired=stored.message.stream_sequence not in unrepaired)
                for event, stored in zip(missing, unmarked, strict=True)
            ]
        findings.unhandled += missing

    async def _acknowledged(
        self, consumer: Consumer, since: datetime
    ) -> AsyncIterator[StoredMessage]:
        """The consumer's messages up to its acknowledgement floor."""
        lag = await consumer.pull_consumer.lag()
        reader = self._stream_reader(consumer.pull_consumer.stream)
        last = min(lag.ack_floor, (await reader.bounds()).last)
        # Retention may have deleted older marks: their absence says nothing about the message.
        since = max(since, consumer.marks_kept_since())
        if not (first := await reader.first_since(since)):
            return
        async for stored in reader.read(first, last):
            if matches_any(stored.message.subject, lag.filters):
                yield stored

    async def _without_mark(
        self, consumer: Consumer, batch: Sequence[StoredMessage]
    ) -> list[StoredMessage]:
        ids = [identify(stored.message).event_id for stored in batch]
        async with self._engine.connect() as connection:
            marked = await Inbox(self._tables, consumer.name).marked(connection, ids)
        return [stored for stored, id_ in zip(batch, ids, strict=True) if id_ not in marked]


def matches_any(subject: str, filters: Sequence[str]) -> bool:
    """Whether a subject matches a filter, with wildcards `*` and `>`; without filters, True."""
    return not filters or any(
        _matches(subject.split("."), pattern.split(".")) for pattern in filters
    )


def _matches(tokens: Sequence[str], pattern: Sequence[str]) -> bool:
    for index, expected in enumerate(pattern):
        if expected == ">":
            return len(tokens) > index
        if index >= len(tokens) or expected not in ("*", tokens[index]):
            return False
    return len(tokens) == len(pattern)


def _unhandled(stored: StoredMessage, consumer: str) -> MissingEvent:
    identity = identify(stored.message)
    return MissingEvent(*identity, stored.message.stream, consumer, stored.stored_at)


async def _handle(consumer: Consumer, unmarked: Sequence[StoredMessage]) -> None:
    for start in range(0, len(unmarked), _REPAIR_BATCH):
        batch = unmarked[start : start + _REPAIR_BATCH]
        await consumer.handle([stored.message for stored in batch])


async def _batches(messages: AsyncIterator[StoredMessage]) -> AsyncIterator[list[StoredMessage]]:
    batch: list[StoredMessage] = []
    async for stored in messages:
        batch.append(stored)
        if len(batch) == _COMPARE_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
