"""A bus for one test: schema, stream, durable consumer, and a table of effects."""

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
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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
    PermanentError,
    Relay,
    RelaySettings,
)
from eventbus.backoff import Backoff
from eventbus.broker import Message, Publisher, PullConsumer
from eventbus.jetstream import JetStream, apply, connect
from eventbus.outbox import retry_parked
from eventbus.requeue import Republisher
from eventbus.retention import Retention, RetentionSettings
from eventbus.tables import create
from eventbus.topology import ConsumerSpec, StreamSpec, Topology
from runtime.database.engine import open_pool

ROLE = "payment_runtime"
Row = dict[str, Any]
BeforeEffect = Callable[[IncomingEvent], Awaitable[None]]
SHORT_BACKOFF = Backoff(first_seconds=0.02, cap_seconds=0.2)


class OpenBus(Protocol):
    """Opens a bus; arguments are fields of the StreamSpec, and `domain`."""

    async def __call__(self, **stream: Any) -> "Bus": ...


class Effects:
    """A handler that inserts one row per event, in the transaction of the bus.

    `before` is called for each event and may raise; `batches` are the event ids of each call.
    """

    def __init__(self, table: Table, before: BeforeEffect | None = None) -> None:
        self._table, self.before = table, before
        self.batches: list[list[str]] = []

    async def __call__(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        self.batches.append([incoming.event.id for incoming in batch])
        rows = [
            {
                "event_id": incoming.event.id,
                "key": incoming.event.key,
                "version": incoming.version,
            }
            for incoming in batch
        ]
        await connection.execute(insert(self._table), rows)
        for incoming in batch:
            if self.before:
                await self.before(incoming)


async def reject(_connection: AsyncConnection, _batch: Sequence[IncomingEvent]) -> None:
    """A handler that rejects every event."""
    raise PermanentError("rejected")


def decode(event: Event) -> Payload:
    """Decodes JSON with a version; any other body is malformed."""
    try:
        body = json.loads(event.data)
        return Payload(body, "thing", body["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedEnvelope(f"body is not JSON: {error}") from None


@dataclass
class Bus:
    """A bus whose schema and stream no other test uses; only the servers are shared."""

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

    # Publishing

    def event(
        self, key: str = "", version: int = 0, name: str = "Happened", **fields: Any
    ) -> Event:
        """A new event; any field may be given in `fields`."""
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
                **fields,
            }
        )

    def events(self, count: int, keys: int = 10) -> list[Event]:
        """New events, with keys in rotation and increasing versions."""
        return [self.event(f"k{n % keys}", n // keys + 1) for n in range(count)]

    async def commit(self, *events: Event, outbox: Outbox | None = None) -> None:
        """Commits events in the outbox, in one transaction."""
        async with self.engine.begin() as connection:
            await (outbox or Outbox(self.tables)).publish(connection, events)

    def relay(
        self, publisher: Publisher | None = None, watermark: Any = None, **settings: Any
    ) -> Relay:
        relay_settings = RelaySettings(**{"poll_seconds": 0.02, **settings})
        return Relay(self.engine, self.tables, publisher or self.broker, relay_settings, watermark)

    async def publish_all(self, relay: Relay | None = None) -> None:
        """Publishes the whole outbox, with a relay of its own by default."""
        relay = relay or self.relay(lease_seconds=0.001)
        while await relay.publish_once():
            pass

    async def retry_parked(self) -> int:
        """Unparks events in a transaction of its own."""
        async with self.engine.begin() as connection:
            return await retry_parked(connection, self.tables)

    async def requeue_since(self, moment: datetime) -> int:
        """Requeues published events in a transaction of its own."""
        async with self.engine.begin() as connection:
            return await Republisher(self.tables).requeue_since(connection, moment)

    async def send(self, *events: Event) -> None:
        """Publishes events to the stream directly, without the outbox."""
        for event in events:
            await self.broker.publish(event)

    async def send_copy(self, event: Event) -> None:
        """Stores an event in the stream again, with a message id that evades deduplication."""
        headers = event.headers() | {"Nats-Msg-Id": uuid.uuid4().hex}
        await self.send_raw(event.subject, event.data, headers)

    async def send_raw(self, subject: str, data: bytes, headers: dict[str, str] | None) -> None:
        """Stores any message in the stream, as the administrator."""
        js = (await self.administrator()).jetstream()
        await js.publish(subject, data, headers=headers, timeout=10)

    # Consuming

    def handler(self, before: BeforeEffect | None = None) -> Effects:
        return Effects(self.effects, before)

    def pull_consumer(self, durable: str = "") -> PullConsumer:
        return self.broker.pull_consumer(self.stream, durable or self.durable)

    def consumer(
        self,
        handler: Any = None,
        *,
        pull_consumer: PullConsumer | None = None,
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
            pull_consumer or self.pull_consumer(),
            handler_registry,
            ConsumerSettings(**{"fetch_seconds": 0.2, "backoff": SHORT_BACKOFF, **settings}),
            after_commit,
        )

    async def fetch(self, count: int, pull_consumer: PullConsumer | None = None) -> list[Message]:
        """Fetches exactly `count` deliveries, in as many fetches as that takes."""
        pull_consumer, fetched = pull_consumer or self.pull_consumer(), []

        async def all_fetched() -> bool:
            fetched.extend(await pull_consumer.fetch(count - len(fetched), 0.5))
            return len(fetched) == count

        await wait_until(all_fetched, f"{count} deliveries")
        return fetched

    async def deliver(self, consumer: Consumer, count: int) -> bool:
        """Passes `count` deliveries to a consumer as one batch."""
        return await consumer.handle(await self.fetch(count, consumer.pull_consumer))

    async def deliver_until_done(self, consumer: Consumer) -> None:
        """Passes deliveries to a consumer until every message is acknowledged or terminated."""

        async def done() -> bool:
            await consumer.handle(await consumer.pull_consumer.fetch(100, 0.05))
            return await self.nothing_pending()

        await wait_until(done, "all messages acknowledged or terminated")

    async def nothing_pending(self, pull_consumer: PullConsumer | None = None) -> bool:
        lag = await (pull_consumer or self.pull_consumer()).lag()
        return lag.pending == 0 and lag.unacknowledged == 0

    async def wait_all_answered(self, pull_consumer: PullConsumer | None = None) -> None:
        """Waits until the broker has processed every answer, which it does asynchronously."""

        async def all_answered() -> bool:
            return await self.nothing_pending(pull_consumer)

        await wait_until(all_answered, "every message answered")

    async def declare_consumer(
        self, durable: str, ack_wait_seconds: int = 30, filter_subjects: Sequence[str] = ()
    ) -> None:
        """Creates a durable consumer of the stream, or changes it."""
        spec = ConsumerSpec(durable, self.stream, [*filter_subjects], ack_wait_seconds, 5000)
        await apply(await self.administrator(), Topology([], [spec]))

    # State

    async def rows(self, table: Table, **where: Any) -> list[Row]:
        """A table's rows, ordered by its first column."""
        first = next(iter(table.columns))
        statement = select(table).filter_by(**where).order_by(first)
        async with self.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def effect_ids(self) -> list[str]:
        """Ids of the events that were applied, in the order of their effects."""
        return [row["event_id"] for row in await self.rows(self.effects)]

    async def effect_count(self) -> int:
        """The number of distinct events that were applied."""
        events = func.count(func.distinct(self.effects.c.event_id))
        async with self.engine.connect() as connection:
            return int((await connection.execute(select(events))).scalar_one())

    async def marks(self) -> dict[str, str]:
        """The state of each event in the inbox."""
        return {row["event_id"]: row["state"] for row in await self.rows(self.tables.inbox)}

    async def dead_letters(self) -> list[Row]:
        return await self.rows(self.tables.dead_letters)

    async def unpublished(self) -> list[str]:
        """Ids in the outbox, by position."""
        return [row["id"] for row in await self.rows(self.tables.outbox)]

    async def published(self) -> list[str]:
        """Ids in `outbox_published`, by position."""
        rows = await self.rows(self.tables.outbox_published)
        return [row["id"] for row in rows]

    async def stored_ids(self) -> list[str]:
        """The event ids of the stream's messages, in order."""
        return [message.headers.get("ce-id", "") for message in await self.stored()]

    async def stored(self) -> list[Message]:
        """Every message that the stream still has, in order."""
        reader = self.broker.stream_reader(self.stream)
        bounds = await reader.bounds()
        return [entry.message async for entry in reader.read(bounds.first, bounds.last)]

    async def purge_stream(self) -> None:
        """Deletes every message."""
        await (await self.administrator()).jetstream().purge_stream(self.stream)

    async def delete_messages(self, first: int) -> None:
        """Deletes the messages from a sequence on."""
        js = (await self.administrator()).jetstream()
        last = (await js.stream_info(self.stream)).state.last_seq
        for sequence in range(first, last + 1):
            await js.delete_msg(self.stream, sequence)

    async def let_days_pass(self, days: int) -> None:
        """Makes published events older by some days, then runs retention."""
        older = text(
            f"UPDATE {self.tables.outbox_published}"  # noqa: S608  names of our own
            " SET published_at = published_at - make_interval(days => :days)"
        )
        await self.execute(older, days=days)
        settings = RetentionSettings(published_days=7)
        await Retention(self.engine, self.tables, settings).sweep()

    async def clock(self, engine: AsyncEngine | None = None) -> datetime:
        """The database's clock."""
        async with (engine or self.engine).connect() as connection:
            clock = await connection.scalar(select(func.clock_timestamp()))
        assert isinstance(clock, datetime)
        return clock

    async def execute(self, statement: Any, **values: Any) -> None:
        """Executes a statement as the superuser."""
        statement = text(statement) if isinstance(statement, str) else statement
        async with self.superuser.begin() as connection:
            await connection.execute(statement, values or None)

    async def administrator(self) -> Client:
        """An administrator's connection; replaced after an outage."""
        if self.admin is None or not self.admin.is_connected:
            if self.admin is not None and not self.admin.is_closed:
                await self.admin.close()
            self.admin = await connect(self.stack.nats_login("admin"), "tests", 10)
        return self.admin

    async def replay(self, consumer: Consumer, dead_letter_id: str) -> bool:
        """Replays a dead letter in a transaction of its own."""
        async with self.engine.begin() as connection:
            later_events_passed = await consumer.dead_letters.replay(connection, dead_letter_id)
        consumer.dead_letters.committed()
        return later_events_passed

    async def make_dead_letter(self, event: Event) -> str:
        """Publishes an event that its handler rejects; returns the id of its dead letter."""
        await self.send(event)
        await self.deliver(self.consumer(reject), 1)
        [row] = await self.rows(self.tables.dead_letters, event_id=event.id)
        return str(row["dead_letter_id"])

    async def discard(self, consumer: Consumer, dead_letter_id: str) -> None:
        """Discards a dead letter in a transaction of its own."""
        async with self.engine.begin() as connection:
            await consumer.dead_letters.discard(connection, dead_letter_id)


def assert_each_once(found: Sequence[str], events: Sequence[Event]) -> None:
    """Asserts that exactly these events were found, none twice."""
    assert Counter(found) == Counter(event.id for event in events)


def engine_for(url: str) -> AsyncEngine:
    """An engine like those of the services."""
    return open_pool(url, 10, "tests")


@asynccontextmanager
async def open_bus(stack: Stack, domain: str = "", **stream: Any) -> AsyncIterator[Bus]:
    """Creates a bus for a test and removes it afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    bus = _new_bus(stack, name, domain or name, stream)
    try:
        await _create_tables(bus)
        await _declare(bus)
        bus.broker.open()
        await bus.broker.wait_connected(10)
        yield bus
    finally:
        await _remove(bus)


def _new_bus(stack: Stack, name: str, domain: str, stream: dict[str, Any]) -> Bus:
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
        broker=JetStream(login, name),
        spec=StreamSpec(name=name.upper(), subjects=[f"{domain}.>"], **options),
    )


async def _create_tables(bus: Bus) -> None:
    """Runs the migration of the bus: tests then work with the rights of a runtime role."""

    def migrate(connection: Connection) -> None:
        connection.exec_driver_sql(f"CREATE SCHEMA {bus.schema}")
        create(connection, bus.schema, ROLE)
        bus.effects.create(connection)
        for grant in (
            f"GRANT USAGE ON SCHEMA {bus.schema} TO {ROLE}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {bus.schema} TO {ROLE}",
        ):
            connection.exec_driver_sql(grant)

    async with bus.superuser.begin() as connection:
        await connection.run_sync(migrate)


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
