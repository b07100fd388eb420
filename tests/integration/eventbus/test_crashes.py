"""Whatever crashes, no event is lost and none has two effects."""

import asyncio

from devstack.polling import wait_until
from eventbus import Event
from tests.integration.drivers.bus import Bus, assert_each_once
from tests.integration.drivers.worker_runner import crashing, running

KILLS = 3
BATCH = 5
MAX_UNHANDLED = 1000


class Writer:
    """Commits events continuously, up to a limit ahead of those that are handled."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._done = bus, False
        self.committed: list[Event] = []

    async def run(self) -> None:
        while not self._done:
            if len(self.committed) < await self._bus.effect_count() + MAX_UNHANDLED:
                events = self._bus.events(BATCH)
                await self._bus.commit(*events)
                self.committed += events
            await asyncio.sleep(0.01)  # a pace, not a wait

    def stop(self) -> None:
        self._done = True

    async def wait_for_more(self) -> None:
        """Waits until more events are committed, or the limit is reached."""
        goal = len(self.committed) + 10 * BATCH

        async def reached() -> bool:
            limit = await self._bus.effect_count() + MAX_UNHANDLED
            return len(self.committed) >= min(goal, limit)

        await wait_until(reached, "more events committed")


async def wait_for_effects(bus: Bus) -> None:
    before = await bus.effect_count()

    async def more_effects() -> bool:
        return await bus.effect_count() > before

    await wait_until(more_effects, "more effects")


async def wait_until_all_handled(bus: Bus, writer: Writer) -> None:
    async def all_handled() -> bool:
        return await bus.effect_count() == len(writer.committed)

    await wait_until(all_handled, "each event handled", 60)
    assert_each_once(await bus.effect_ids(), writer.committed)
    assert await bus.unpublished() == []
    assert await bus.dead_letters() == []


async def test_a_killed_broker_loses_and_duplicates_no_event(
    bus: Bus,
) -> None:
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    writer = Writer(bus)
    async with running(bus.relay(batch_size=20), bus.consumer(batch_size=20)):
        async with running(writer):
            for _ in range(KILLS):
                await wait_for_effects(bus)
                await bus.stack.kill("nats")
                await writer.wait_for_more()
                await bus.stack.start("nats")
        await wait_until_all_handled(bus, writer)


async def test_a_suspended_broker_loses_and_duplicates_no_event(bus: Bus) -> None:
    """It keeps its connections and does not answer; it processes requests later."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    writer = Writer(bus)
    relay = bus.relay(batch_size=20)
    bus.broker.request_seconds = 0.5
    async with running(relay, bus.consumer(batch_size=20)):
        async with running(writer):
            await writer.wait_for_more()
            bus.stack.suspend("nats")

            async def failing() -> bool:
                return bool(relay.current_error)

            await wait_until(failing, "the relay reports the error")
            bus.stack.resume("nats")
        await wait_until_all_handled(bus, writer)


async def test_crashed_relays_and_consumers_lose_and_duplicate_no_event(
    bus: Bus,
) -> None:
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    writer = Writer(bus)
    async with running(writer):
        for _ in range(4):
            relay = bus.relay(batch_size=20, lease_seconds=0.05)
            async with crashing(relay), crashing(bus.consumer(batch_size=20)):
                await writer.wait_for_more()
    async with running(bus.relay(batch_size=20), bus.consumer(batch_size=20, max_attempts=50)):
        await wait_until_all_handled(bus, writer)
