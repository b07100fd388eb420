"""What relay and consumers count: each event once, by what became of it."""

from eventbus import IncomingEvent
from eventbus.counts import ConsumerCounts, RelayCounts
from tests.integration.drivers.bus import Bus


class HandlerError(Exception):
    """A failure of the handler itself."""


async def test_a_relay_counts_what_it_published(bus: Bus) -> None:
    await bus.commit(*bus.events(7))
    relay = bus.relay(batch_size=3)
    await bus.publish_all(relay)
    assert relay.counts == RelayCounts(published=7)


async def test_a_consumer_counts_what_it_handled_and_what_came_twice(bus: Bus) -> None:
    first, second = bus.event("a"), bus.event("b")
    await bus.send(first, second)
    consumer = bus.consumer()
    await bus.deliver(consumer, 2)
    await bus.send_copy(first)
    await bus.deliver(consumer, 1)
    assert consumer.counts == ConsumerCounts(handled=2, duplicates=1)


async def test_a_consumer_counts_failures_redeliveries_and_dead_letters(bus: Bus) -> None:
    async def fail(_: IncomingEvent) -> None:
        raise HandlerError

    await bus.send(bus.event("a"))
    consumer = bus.consumer(bus.handler(fail), max_attempts=2)
    await bus.deliver_until_done(consumer)
    assert consumer.counts == ConsumerCounts(failures=2, redeliveries=1, dead_letters_stored=1)


async def test_an_event_that_fails_at_first_counts_as_failed_and_as_handled(bus: Bus) -> None:
    """What fails as part of a batch is attempted singly at once: only that counts."""
    failing = [True, True, False]

    async def fail_at_first(_: IncomingEvent) -> None:
        if failing.pop(0):
            raise HandlerError

    await bus.send(bus.event("a"))
    consumer = bus.consumer(bus.handler(fail_at_first))
    await bus.deliver_until_done(consumer)
    assert consumer.counts == ConsumerCounts(handled=1, failures=1, redeliveries=1)
