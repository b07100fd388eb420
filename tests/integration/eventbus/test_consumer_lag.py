"""How far a consumer is behind, as any of its replicas tells it."""

from datetime import UTC, datetime, timedelta

import pytest

from devstack.polling import wait_until
from eventbus.broker import BrokerUnavailable, ConsumerLag, PullConsumer
from eventbus.jetstream import JetStreamPullConsumer, apply
from eventbus.topology import ConsumerSpec, Topology
from ops.v1 import ops_service_pb2
from tests.integration.bus import Bus
from tests.integration.runtime.ops.test_servicer import CONTEXT, servicer


async def age(source: PullConsumer) -> float:
    return await source.oldest_unhandled_age(await source.lag())


async def is_the_oldest(bus: Bus, source: PullConsumer, sequence: int) -> bool:
    """Whether the age is that of the message of a sequence, to the microsecond."""
    stored = await anext(bus.broker.reader(bus.stream).read(sequence, sequence))
    before = datetime.now(UTC)
    seconds = timedelta(seconds=await age(source))
    return before - seconds <= stored.stored_at <= datetime.now(UTC) - seconds


async def test_the_lag_tells_what_waits_and_the_age_of_the_oldest(bus: Bus) -> None:
    source = bus.source()
    assert await age(source) == 0.0
    await bus.send(*bus.events(5))
    messages = await bus.fetch(3, source)
    lag = await source.lag()
    assert (lag.pending, lag.unacknowledged, lag.ack_floor) == (2, 3, 0)
    assert await is_the_oldest(bus, source, 1)
    for message in messages:
        await source.ack(message)

    async def moved() -> bool:
        return (await source.lag()).ack_floor == 3

    await wait_until(moved, "the floor follows the acknowledgements")
    assert await is_the_oldest(bus, source, 4)
    for message in await bus.fetch(2, source):
        await source.ack(message)
    await bus.all_answered()
    assert await age(source) == 0.0


async def test_a_replica_tells_the_age_of_what_another_has(bus: Bus) -> None:
    await bus.send(*bus.events(2))
    [stuck, done] = await bus.fetch(2)
    await bus.source().ack(done)
    assert await is_the_oldest(bus, bus.source(), stuck.stream_sequence)


async def test_what_nobody_can_fetch_grows_old(bus: Bus) -> None:
    await bus.send(bus.event())
    ops = await servicer(bus, bus.relay())
    request = ops_service_pb2.GetBusStatusRequest()

    async def grows() -> bool:
        [told] = (await ops.GetBusStatus(request, CONTEXT)).consumers
        assert told.pending_count == 1
        return told.oldest_unhandled_age.ToTimedelta().total_seconds() > 0.2

    await wait_until(grows, "the age of a message that was never delivered")


async def test_only_messages_that_the_consumer_gets_count(bus: Bus) -> None:
    """The oldest of any of its subjects, and none of others'."""
    filters = [f"{bus.domain}.v1.Later", f"{bus.domain}.v1.Happened.*"]
    spec = ConsumerSpec("some", bus.stream, filters, 30, 1000)
    await apply(await bus.administrator(), Topology([], [spec]))
    await bus.send(bus.event(name="Other"))
    source = bus.pull_consumer("some")
    assert await age(source) == 0.0
    await bus.send(bus.event("a"), bus.event(name="Later"))
    assert await is_the_oldest(bus, source, 2)


async def test_a_broker_that_is_away_tells_no_age(bus: Bus) -> None:
    source = bus.source()
    await bus.broker.close()
    with pytest.raises(BrokerUnavailable):
        await source.oldest_unhandled_age(ConsumerLag(1, 0, 0, (">",)))


async def test_what_another_replica_answered_is_not_remembered(bus: Bus) -> None:
    await bus.send(bus.event())
    source = bus.source()
    assert isinstance(source, JetStreamPullConsumer)
    [message] = await bus.fetch(1, source)
    await bus.source().ack(message)
    await bus.all_answered()
    await source.lag()
    assert source._unanswered == set()
