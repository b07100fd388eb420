"""Comparing what was published with the stream, and the stream with what was handled.

Guarantee: what is told as lost was confirmed by the broker once and isn't in the stream now, though
the stream should still hold it; what is told as unhandled was acknowledged by the consumer and left
no mark, in whatever state, in its inbox. What is on its way is neither: rows are read before the
stream, and the acknowledgement floor before the marks. Mending goes the usual ways, outbox and
relay, or claim and handler in one transaction: nothing has a second effect.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.broker import StoredMessage, StreamReader
from eventbus.consumer import Consumer
from eventbus.dead_letters.replay import identity
from eventbus.event import ID_HEADER
from eventbus.inbox import Inbox
from eventbus.requeue import Republisher
from eventbus.tables import BusTables

_log = structlog.get_logger(__name__)
_BATCH = 1000
_HANDLED_AT_ONCE = 200
# How far the clocks of database, broker and this process may be apart.
_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class MissingEvent:
    """An event that isn't where it should be; `consumer` is "" if the stream lost it."""

    event_id: str
    event_type: str
    key: str
    stream: str
    consumer: str
    published_at: datetime
    repaired: bool = False


@dataclass
class Findings:
    """What a check found, all of it, and how much it compared."""

    lost: list[MissingEvent] = field(default_factory=list)
    unhandled: list[MissingEvent] = field(default_factory=list)
    published_count: int = 0
    message_count: int = 0


class BusReconciliation:
    """Checks one service's part of the bus."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        reader: Callable[[str], StreamReader],
        consumers: Sequence[Consumer],
        own_stream: str,
        after_put_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`own_stream` is the stream of the service's own events."""
        self._engine, self._tables, self._reader = engine, tables, reader
        self._consumers, self._own = consumers, own_stream
        self._after_put_back = after_put_back

    async def run(self, since: datetime, *, repair: bool) -> Findings:
        """Compares what is not older than `since`; raises BrokerUnavailable."""
        findings = Findings()
        await self._find_lost(findings, since, repair=repair)
        for consumer in self._consumers:
            await self._find_unhandled(findings, consumer, since, repair=repair)
        _log.info(
            "bus checked",
            lost=len(findings.lost),
            unhandled=len(findings.unhandled),
            repair=repair,
        )
        return findings

    # What was published

    async def _find_lost(self, findings: Findings, since: datetime, *, repair: bool) -> None:
        reader = self._reader(self._own)
        rows = {row.id: row for row in await self._published(since)}
        bounds = await reader.bounds()
        if bounds.max_age_seconds:
            kept = datetime.now(UTC) - timedelta(seconds=bounds.max_age_seconds) + _SKEW
            rows = {id_: row for id_, row in rows.items() if row.recorded_at > kept}
        findings.published_count = len(rows)
        if not rows:
            return
        # A message is never older than its event: a relay that ended between the broker's
        # confirmation and its own mark may have noted it much later.
        recorded = min(row.recorded_at for row in rows.values())
        if first := await reader.first_since(recorded - _SKEW):
            async for stored in reader.read(first, bounds.last):
                headers = stored.message.headers
                rows.pop(headers.get("ce-id") or headers.get(ID_HEADER, ""), None)
        lost = sorted(rows.values(), key=lambda row: row.position)
        if lost and repair:
            async with self._engine.begin() as connection:
                positions = [row.position for row in lost]
                await Republisher(self._tables).these(connection, positions)
            self._after_put_back()
        findings.lost = [
            MissingEvent(row.id, row.type, row.key, self._own, "", row.published_at, repair)
            for row in lost
        ]

    async def _published(self, since: datetime) -> Sequence[Any]:
        """What was published and doesn't wait to be published again."""
        outbox, kept = self._tables.outbox, self._tables.outbox_published
        columns = (getattr(kept.c, name) for name in ("position", "id", "type", "key"))
        statement = select(*columns, kept.c.recorded_at, kept.c.published_at).where(
            kept.c.published_at >= since, ~exists().where(outbox.c.position == kept.c.position)
        )
        async with self._engine.connect() as connection:
            return (await connection.execute(statement)).all()

    # What was acknowledged

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
            still = await self._without_mark(consumer, unmarked)
            left = {stored.message.stream_sequence for stored in still}
            missing = [
                replace(one, repaired=stored.message.stream_sequence not in left)
                for one, stored in zip(missing, unmarked, strict=True)
            ]
        findings.unhandled += missing

    async def _acknowledged(
        self, consumer: Consumer, since: datetime
    ) -> AsyncIterator[StoredMessage]:
        """The messages that a consumer has answered for good, all before its floor."""
        lag = await consumer.source.lag()
        reader = self._reader(consumer.source.stream)
        last = min(lag.ack_floor, (await reader.bounds()).last)
        # Of what is older the inbox may have dropped the marks: that there is none says nothing.
        since = max(since, consumer.marks_kept_since())
        if not (first := await reader.first_since(since)):
            return
        async for stored in reader.read(first, last):
            if is_among(stored.message.subject, lag.filters):
                yield stored

    async def _without_mark(
        self, consumer: Consumer, batch: Sequence[StoredMessage]
    ) -> list[StoredMessage]:
        ids = [identity(stored.message)[0] for stored in batch]
        async with self._engine.connect() as connection:
            marked = await Inbox(self._tables, consumer.name).marked(connection, ids)
        return [stored for stored, id_ in zip(batch, ids, strict=True) if id_ not in marked]


def is_among(subject: str, filters: Sequence[str]) -> bool:
    """Whether a subject matches one of the broker's patterns, `*` and `>`; none match all."""
    return not filters or any(_matches(subject.split("."), one.split(".")) for one in filters)


def _matches(tokens: Sequence[str], pattern: Sequence[str]) -> bool:
    for place, wanted in enumerate(pattern):
        if wanted == ">":
            return len(tokens) > place
        if place >= len(tokens) or wanted not in ("*", tokens[place]):
            return False
    return len(tokens) == len(pattern)


def _unhandled(stored: StoredMessage, consumer: str) -> MissingEvent:
    event_id, event_type, key = identity(stored.message)
    return MissingEvent(
        event_id, event_type, key, stored.message.stream, consumer, stored.stored_at
    )


async def _handle(consumer: Consumer, unmarked: Sequence[StoredMessage]) -> None:
    for start in range(0, len(unmarked), _HANDLED_AT_ONCE):
        some = unmarked[start : start + _HANDLED_AT_ONCE]
        await consumer.handle([stored.message for stored in some])


async def _batches(messages: AsyncIterator[StoredMessage]) -> AsyncIterator[list[StoredMessage]]:
    batch: list[StoredMessage] = []
    async for stored in messages:
        batch.append(stored)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
