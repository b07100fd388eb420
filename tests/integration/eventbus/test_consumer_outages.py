"""Outages of the database and of the broker: no event is lost, and none counts as failed."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from devstack.polling import wait_until
from eventbus import IncomingEvent
from eventbus.backoff import Backoff
from tests.fakes.broker import RecordingConsumer
from tests.integration.drivers.bus import Bus, assert_each_once
from tests.integration.drivers.read_only_pool import fill_pool
from tests.integration.drivers.worker_runner import running


async def test_an_infrastructure_error_does_not_count_as_a_failure_of_the_event(bus: Bus) -> None:
    """The database ends the connection during the handler, more often than there are attempts."""
    event, broken = bus.event("a"), []

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        if len(broken) < 5:
            broken.append(batch[0].event.id)
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        await bus.handler()(connection, batch)

    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(handler, max_attempts=2))
    assert broken == [event.id] * 5
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_a_statement_timeout_does_not_count_as_a_failure_of_the_event(bus: Bus) -> None:
    event, timeouts = bus.event("a"), [1, 2, 3, 4]

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        if timeouts:
            timeouts.pop()
            await connection.execute(text("SET LOCAL statement_timeout = 5"))
            await connection.execute(text("SELECT pg_sleep(10)"))
        await bus.handler()(connection, batch)

    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(handler, max_attempts=2))
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_a_read_only_database_does_not_count_as_a_failure_of_the_event(bus: Bus) -> None:
    event, refused = bus.event("a"), [1, 2, 3, 4]

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        if refused:
            refused.pop()
            await connection.execute(text("SET TRANSACTION READ ONLY"))
        await bus.handler()(connection, batch)

    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(handler, max_attempts=2))
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_events_are_handled_although_the_pool_has_read_only_connections(bus: Bus) -> None:
    """The first refused write replaces them: the rest of the events is not affected."""
    events = bus.events(30)
    await bus.send(*events)
    await fill_pool(bus.engine, read_only=6, writable=4)
    await bus.deliver_until_done(bus.consumer(max_attempts=1))
    assert_each_once(await bus.effect_ids(), events)
    assert await bus.dead_letters() == []


async def test_a_batch_that_the_infrastructure_failed_is_redelivered_after_a_delay(
    bus: Bus,
) -> None:
    """At once would make an outage worse."""

    async def fail(_: IncomingEvent) -> None:
        raise ConnectionResetError

    await bus.send(*bus.events(3))
    answers = RecordingConsumer(bus.pull_consumer())
    consumer = bus.consumer(
        bus.handler(fail), pull_consumer=answers, backoff=Backoff(first_seconds=40, cap_seconds=60)
    )
    assert not await bus.deliver(consumer, 3)
    assert [sequence for sequence, _ in answers.naks] == [1, 2, 3]
    assert all(20 <= delay <= 40 for _, delay in answers.naks)


async def test_no_event_is_lost_if_the_database_is_killed_during_its_handler(bus: Bus) -> None:
    events, killed = bus.events(10), []

    async def kill_once(_: IncomingEvent) -> None:
        if not killed:
            killed.append(True)
            await bus.stack.kill("postgres")

    await bus.send(*events)
    consumer = bus.consumer(bus.handler(kill_once), max_attempts=2)
    async with running(consumer):

        async def failing() -> bool:
            return bool(killed and consumer.current_error)

        await wait_until(failing, "the consumer reports the error")
        await bus.stack.start("postgres")
        await wait_until(bus.nothing_pending, "all handled")
    assert_each_once(await bus.effect_ids(), events)
    assert await bus.dead_letters() == []
    assert consumer.current_error == ""


async def test_an_outage_of_the_database_does_not_count_as_a_crash(bus: Bus) -> None:
    """The end of the attempt cannot be recorded while the database is down."""
    event = bus.event("a")
    await bus.send(event)
    consumers = [bus.consumer(max_attempts=2), bus.consumer(max_attempts=2)]

    async def outage(_: IncomingEvent) -> None:
        await bus.stack.kill("postgres")

    for consumer in (bus.consumer(bus.handler(outage), max_attempts=2) for _ in range(2)):
        [message] = await bus.fetch(1)
        await consumer.handle([replace(message, delivery_count=2)])
        await bus.stack.start("postgres")
    await bus.deliver_until_done(consumers[0])
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_a_consumer_survives_an_outage_of_the_broker(bus: Bus) -> None:
    """A killed broker loses the latest acknowledgements: redelivery has no second effect."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    events = bus.events(6)
    consumer = bus.consumer()
    await bus.send(*events[:3])
    async with running(consumer):
        await wait_until(bus.nothing_pending, "the first are handled")
        await bus.stack.kill("nats")

        async def failing() -> bool:
            return bool(consumer.current_error)

        await wait_until(failing, "the consumer reports the error")
        await bus.stack.start("nats")
        await bus.broker.wait_connected(10)

        async def connected() -> bool:
            return bus.broker.connected

        await wait_until(connected, "connected again")
        await bus.send(*events[3:])
        await wait_until(bus.nothing_pending, "the rest is handled")
    assert_each_once(await bus.effect_ids(), events)


async def test_a_deleted_durable_consumer_is_an_error_until_it_is_created_again(
    bus: Bus,
) -> None:
    consumer, event = bus.consumer(), bus.event("a")
    js = (await bus.administrator()).jetstream()
    async with running(consumer):
        await js.delete_consumer(bus.stream, bus.durable)

        async def failing() -> bool:
            return bool(consumer.current_error)

        await wait_until(failing, "the consumer reports the error")
        await bus.declare_consumer(bus.durable)
        await bus.send(event)
        await wait_until(bus.nothing_pending, "the event is handled")

        async def recovered() -> bool:
            return not consumer.current_error

        await wait_until(recovered, "the error is cleared")
    assert await bus.effect_ids() == [event.id]
