"""The promise of the whole: whatever is killed, nothing is lost and nothing takes effect twice."""

import asyncio

from devstack.polling import wait_until
from eventbus import Event
from tests.integration.bus import Bus, assert_each_once
from tests.integration.worker_runner import crashing, running

KILLS = 3
BATCH = 5
AHEAD = 1000


class Writer:
    """Commits events all the time, but not too far ahead of what took effect."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._done = bus, False
        self.committed: list[Event] = []

    async def run(self) -> None:
        while not self._done:
            if len(self.committed) < await self._bus.effect_count() + AHEAD:
                events = self._bus.events(BATCH)
                await self._bus.commit(*events)
                self.committed += events
            await asyncio.sleep(0.01)  # a pace, not a wait

    def stop(self) -> None:
        self._done = True

    async def goes_on(self) -> None:
        """Waits until some more was committed, or it is as far ahead as it goes."""
        goal = len(self.committed) + 10 * BATCH

        async def reached() -> bool:
            furthest = await self._bus.effect_count() + AHEAD
            return len(self.committed) >= min(goal, furthest)

        await wait_until(reached, "more events committed")


async def some_take_effect(bus: Bus) -> None:
    before = await bus.effect_count()

    async def moving() -> bool:
        return await bus.effect_count() > before

    await wait_until(moving, "events take effect")


async def all_took_effect(bus: Bus, writer: Writer) -> None:
    async def there() -> bool:
        return await bus.effect_count() == len(writer.committed)

    await wait_until(there, "each event took effect", 60)
    assert_each_once(await bus.effect_ids(), writer.committed)
    assert await bus.waiting() == []
    assert await bus.dead_letters() == []


async def test_a_broker_killed_under_continuous_publishing_loses_and_doubles_nothing(
    bus: Bus,
) -> None:
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    writer = Writer(bus)
    async with running(bus.relay(batch_size=20), bus.consumer(batch_size=20)):
        async with running(writer):
            for _ in range(KILLS):
                await some_take_effect(bus)
                await bus.stack.kill("nats")
                await writer.goes_on()
                await bus.stack.start("nats")
        await all_took_effect(bus, writer)


async def test_a_frozen_broker_loses_and_doubles_nothing(bus: Bus) -> None:
    """It keeps its connections and answers nobody: what was sent to it comes to light later."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    writer = Writer(bus)
    relay = bus.relay(batch_size=20)
    bus.broker._timeout = 0.5
    async with running(relay, bus.consumer(batch_size=20)):
        async with running(writer):
            await writer.goes_on()
            bus.stack.suspend("nats")

            async def troubled() -> bool:
                return bool(relay.trouble)

            await wait_until(troubled, "the relay noticed")
            bus.stack.resume("nats")
        await all_took_effect(bus, writer)


async def test_relays_and_consumers_that_crash_in_the_middle_lose_and_double_nothing(
    bus: Bus,
) -> None:
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    writer = Writer(bus)
    async with running(writer):
        for _ in range(4):
            relay = bus.relay(batch_size=20, lease_seconds=0.05)
            async with crashing(relay), crashing(bus.consumer(batch_size=20)):
                await writer.goes_on()
    async with running(bus.relay(batch_size=20), bus.consumer(batch_size=20, max_attempts=50)):
        await all_took_effect(bus, writer)
