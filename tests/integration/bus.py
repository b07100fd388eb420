"""A test's own piece of the bus: schema, stream, durable consumer, and a table of effects."""

import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Identity,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from devstack.polling import wait_until
from devstack.stack import Stack
from eventbus import (
    BusTables,
    Consumer,
    ConsumerSettings,
    Event,
    HandlerRegistry,
    IncomingEvent,
    MalformedEnvelope,
    Outbox,
    Payload,
    Relay,
    RelaySettings,
)
from eventbus.ack_policy import Backoff
from eventbus.broker import Message, Publisher, PullConsumer
from eventbus.jetstream import JetStream, apply, connect
from eventbus.tables import create
from eventbus.topology import ConsumerSpec, StreamSpec, Topology
from tests.integration.worker_runner import running

ROLE = "payment_runtime"
Row = dict[str, Any]
Look = Callable[[IncomingEvent], Awaitable[None]]
# A retry comes soon: nothing here waits for the sake of waiting.
SOON = Backoff(first_seconds=0.02, cap_seconds=0.2)


class OpenBus(Protocol):
    """Opens a bus; arguments are fields of the StreamSpec, and `domain`."""

    async def __call__(self, **stream: Any) -> "Bus": ...


class Effects:
    """A handler: each event leaves one row, in the transaction of the bus.

    `before` may look at each event and raise; `batches` are the ids of each call.
    """

    def __init__(self, table: Table, before: Look | None = None) -> None:
        self._table, self.before = table, before
        self.batches: list[list[str]] = []

    async def __call__(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        self.batches.append([one.event.id for one in batch])
        rows = [
            {"event_id": one.event.id, "key": one.event.key, "version": one.version}
            for one in batch
        ]
        await connection.execute(insert(self._table), rows)
        for one in batch:
            if self.before:
                await self.before(one)


def decode(event: Event) -> Payload:
    """Bodies are JSON with a version; whatever else is malformed."""
    try:
        body = json.loads(event.data)
        return Payload(body, "thing", body["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedEnvelope(f"body is no JSON: {error}") from None


@dataclass
class Bus:
    """All of it. Nothing in it is shared with another test but the servers."""

    stack: Stack
    engine: AsyncEngine
    superuser: AsyncEngine
    schema: str
    domain: str
    tables: BusTables
    effects: Table
    broker: JetStream
    spec: StreamSpec
    durable: str = "listener"
    admin: Client | None = None
    _sequence: int = field(default=0, repr=False)

    @property
    def stream(self) -> str:
        return self.spec.name

    # What is announced

    def event(self, key: str = "", version: int = 0, name: str = "Happened", **more: Any) -> Event:
        """A new event; `data` and `id` may be given."""
        self._sequence += 1
        body = {"version": version, "number": self._sequence}
        return Event(
            **{
                "id": f"evt_{self._sequence:04}_{uuid.uuid4().hex[:8]}",
                "type": f"{self.domain}.v1.{name}",
                "key": key,
                "data": json.dumps(body).encode(),
                "occurred_at": datetime.now(UTC),
                "source": "test",
                **more,
            }
        )

    def events(self, count: int, keys: int = 10) -> list[Event]:
        """Events of some keys in turn, with growing versions."""
        return [self.event(f"k{n % keys}", n // keys + 1) for n in range(count)]

    async def commit(self, *events: Event, outbox: Outbox | None = None) -> None:
        """Announces events in one transaction."""
        async with self.engine.begin() as connection:
            await (outbox or Outbox(self.tables)).publish(connection, events)

    def relay(
        self, publisher: Publisher | None = None, watermark: Any = None, **settings: Any
    ) -> Relay:
        chosen = RelaySettings(**{"poll_seconds": 0.02, **settings})
        return Relay(self.engine, self.tables, publisher or self.broker, chosen, watermark)

    async def send(self, *events: Event) -> None:
        """Puts events into the stream, past the outbox."""
        for event in events:
            await self.broker.publish(event)

    async def send_copy(self, event: Event) -> None:
        """Puts an event into the stream again: the broker's own deduplication doesn't see it."""
        headers = event.headers() | {"Nats-Msg-Id": uuid.uuid4().hex}
        await self.send_raw(event.subject, event.data, headers)

    async def send_raw(self, subject: str, data: bytes, headers: dict[str, str] | None) -> None:
        """Puts any message into the stream."""
        js = (await self.administrator()).jetstream()
        await js.publish(subject, data, headers=headers, timeout=10)

    # Who listens

    def handler(self, before: Look | None = None) -> Effects:
        return Effects(self.effects, before)

    def source(self, durable: str = "") -> PullConsumer:
        return self.broker.pull_consumer(self.stream, durable or self.durable)

    def consumer(
        self,
        handler: Any = None,
        *,
        source: PullConsumer | None = None,
        handler_registry: HandlerRegistry | None = None,
        after_commit: Callable[[Sequence[IncomingEvent]], None] = lambda _: None,
        **settings: Any,
    ) -> Consumer:
        if handler_registry is None:
            handler_registry = HandlerRegistry()
            handler_registry.subscribe(
                f"{self.domain}.v1.Happened", decode, handler or self.handler()
            )
        return Consumer(
            self.engine,
            self.tables,
            source or self.source(),
            handler_registry,
            ConsumerSettings(**{"fetch_seconds": 0.2, "backoff": SOON, **settings}),
            after_commit,
        )

    async def fetch(self, count: int, source: PullConsumer | None = None) -> list[Message]:
        """Exactly so many deliveries, however many fetches they take."""
        source, fetched = source or self.source(), []

        async def enough() -> bool:
            fetched.extend(await source.fetch(count - len(fetched), 0.5))
            return len(fetched) == count

        await wait_until(enough, f"{count} deliveries")
        return fetched

    async def deliver(self, consumer: Consumer, count: int) -> bool:
        """Has a consumer handle so many deliveries as one batch."""
        return await consumer.handle(await self.fetch(count, consumer.source))

    async def deliver_until_done(self, consumer: Consumer) -> None:
        """Has a consumer handle whatever comes, until nothing is pending."""

        async def done() -> bool:
            await consumer.handle(await consumer.source.fetch(100, 0.05))
            return await self.nothing_pending()

        await wait_until(done, "all messages acknowledged or given up")

    async def nothing_pending(self, source: PullConsumer | None = None) -> bool:
        lag = await (source or self.source()).lag()
        return lag.pending == 0 and lag.unacknowledged == 0

    async def all_answered(self, source: PullConsumer | None = None) -> None:
        """Waits for the broker to have heard every answer: it takes them in by and by."""

        async def heard() -> bool:
            return await self.nothing_pending(source)

        await wait_until(heard, "every message answered")

    async def declare_consumer(self, durable: str, ack_wait_seconds: int = 30) -> None:
        spec = ConsumerSpec(durable, self.stream, [], ack_wait_seconds, 5000)
        await apply(await self.administrator(), Topology([], [spec]))

    # What there is

    async def rows(self, table: Table, **where: Any) -> list[Row]:
        """A table's rows in the order of its first column."""
        first = next(iter(table.columns))
        statement = select(table).filter_by(**where).order_by(first)
        async with self.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def effect_ids(self) -> list[str]:
        """Ids of the events that took effect, in the order of their effects."""
        return [row["event_id"] for row in await self.rows(self.effects)]

    async def effect_count(self) -> int:
        """How many events took effect, each counted once."""
        events = func.count(func.distinct(self.effects.c.event_id))
        async with self.engine.connect() as connection:
            return int((await connection.execute(select(events))).scalar_one())

    async def marks(self) -> dict[str, str]:
        """The state of each event in the inbox."""
        return {row["event_id"]: row["state"] for row in await self.rows(self.tables.inbox)}

    async def dead_letters(self) -> list[Row]:
        return await self.rows(self.tables.dead_letters)

    async def waiting(self) -> list[str]:
        """Ids of the outbox, in order."""
        return [row["id"] for row in await self.rows(self.tables.outbox)]

    async def published(self) -> list[str]:
        """Ids in `outbox_published`, by position."""
        rows = await self.rows(self.tables.outbox_published)
        return [row["id"] for row in rows]

    async def stored(self) -> list[RawStreamMsg]:
        """Every message of the stream, in order."""
        js = (await self.administrator()).jetstream()
        state = (await js.stream_info(self.stream)).state
        return [
            await js.get_msg(self.stream, number)
            for number in range(max(1, state.first_seq), state.last_seq + 1)
        ]

    async def stored_ids(self) -> list[str]:
        return [(message.headers or {}).get("ce-id", "") for message in await self.stored()]

    async def clock(self) -> datetime:
        """The database's clock."""
        async with self.engine.connect() as connection:
            clock = await connection.scalar(select(func.clock_timestamp()))
        assert isinstance(clock, datetime)
        return clock

    async def execute(self, statement: Any, **values: Any) -> None:
        """Runs a statement as the superuser."""
        statement = text(statement) if isinstance(statement, str) else statement
        async with self.superuser.begin() as connection:
            await connection.execute(statement, values or None)

    async def administrator(self) -> Client:
        """A connection that may declare; made anew after an outage."""
        if self.admin is None or not self.admin.is_connected:
            if self.admin is not None and not self.admin.is_closed:
                await self.admin.close()
            login = self.stack.nats_login("admin")
            url = self.stack.nats_url
            self.admin = await connect(url, login.user, login.password, "tests", 10)
        return self.admin

    async def replay(self, consumer: Consumer, dead_letter_id: str) -> bool:
        """Handles a dead letter's event again, in a transaction of its own."""
        async with self.engine.begin() as connection:
            passed = await consumer.dead_letters.replay(connection, dead_letter_id)
        consumer.dead_letters.committed()
        return passed

    async def discard(self, consumer: Consumer, dead_letter_id: str) -> None:
        """Gives a dead letter's event up, in a transaction of its own."""
        async with self.engine.begin() as connection:
            await consumer.dead_letters.discard(connection, dead_letter_id)


def assert_each_once(found: Sequence[str], events: Sequence[Event]) -> None:
    """Exactly the events, none missing, none twice."""
    assert Counter(found) == Counter(event.id for event in events)


def engine_for(url: str) -> AsyncEngine:
    """As the services have theirs."""
    return create_async_engine(
        url,
        pool_size=10,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"timeout": 5, "command_timeout": 20},
    )


@asynccontextmanager
async def open_bus(stack: Stack, domain: str = "", **stream: Any) -> AsyncIterator[Bus]:
    """Declares all of a test's own, and removes it afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    bus = _undeclared(stack, name, domain or name, stream)
    try:
        await _create_tables(bus)
        await _declare(bus)
        bus.broker.open()
        await bus.broker.wait_connected(10)
        yield bus
    finally:
        await _remove(bus)


def _undeclared(stack: Stack, name: str, domain: str, stream: dict[str, Any]) -> Bus:
    metadata = MetaData(schema=name)
    login = stack.nats_login("admin")
    options = {
        "max_age_hours": 1,
        "max_bytes": 64_000_000,
        "duplicate_window_seconds": 120,
        "replicas": 1,
        **stream,
    }
    return Bus(
        stack=stack,
        engine=engine_for(stack.database_url(ROLE)),
        superuser=engine_for(stack.superuser_url),
        schema=name,
        domain=domain,
        tables=BusTables.define(metadata),
        effects=Table(
            "effects",
            metadata,
            Column("position", BigInteger, Identity(always=True), primary_key=True),
            Column("event_id", Text, nullable=False),
            Column("key", Text, nullable=False),
            Column("version", BigInteger, nullable=False),
        ),
        broker=JetStream(stack.nats_url, login.user, login.password, name),
        spec=StreamSpec(name=name.upper(), subjects=[f"{domain}.>"], **options),
    )


async def _create_tables(bus: Bus) -> None:
    """As a migration does: the tests then work with the rights of a runtime role."""

    def make(connection: Connection) -> None:
        connection.exec_driver_sql(f"CREATE SCHEMA {bus.schema}")
        create(connection, bus.schema, ROLE)
        bus.effects.create(connection)
        for grant in (
            f"GRANT USAGE ON SCHEMA {bus.schema} TO {ROLE}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {bus.schema} TO {ROLE}",
        ):
            connection.exec_driver_sql(grant)

    async with bus.superuser.begin() as connection:
        await connection.run_sync(make)


async def _declare(bus: Bus) -> None:
    await apply(await bus.administrator(), Topology([bus.spec], []))
    await bus.declare_consumer(bus.durable)


async def _remove(bus: Bus) -> None:
    try:
        await bus.broker.close()
        for name in ("postgres", "nats"):
            if bus.stack.is_running(name):
                bus.stack.resume(name)
            else:
                await bus.stack.start(name)
        with suppress(NotFoundError, NatsError):
            await (await bus.administrator()).jetstream().delete_stream(bus.stream)
        await bus.execute(f"DROP SCHEMA IF EXISTS {bus.schema} CASCADE")
    finally:
        if bus.admin is not None and not bus.admin.is_closed:
            await bus.admin.close()
        await bus.engine.dispose()
        await bus.superuser.dispose()


__all__ = ["Bus", "Effects", "OpenBus", "assert_each_once", "decode", "open_bus", "running"]
