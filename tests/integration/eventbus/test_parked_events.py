"""The way out for what the broker refused for good, once it takes it."""

from collections.abc import Sequence
from typing import Any

from devstack.polling import wait_until
from eventbus import Event
from eventbus.broker import EventRefused, Publisher
from eventbus.outbox import retry_parked
from ops.v1 import ops_service_pb2
from tests.integration.bus import Bus
from tests.integration.eventbus.test_watermark import at_least, maker
from tests.integration.runtime.ops.test_servicer import servicer
from tests.integration.worker_runner import running

CONTEXT: Any = None
Request = ops_service_pb2.RetryParkedEventsRequest


class Choosy:
    """Refuses some events for good, until it is told otherwise."""

    def __init__(self, real: Publisher, *refused: Event) -> None:
        self._real = real
        self.refused = {event.id for event in refused}

    async def publish(self, event: Event) -> None:
        if event.id in self.refused:
            raise EventRefused("too long")
        await self._real.publish(event)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.publish(event)


async def retry(bus: Bus) -> int:
    async with bus.engine.begin() as connection:
        return await retry_parked(connection, bus.tables)


async def test_parked_events_go_out_in_their_order_once_they_are_tried_again(bus: Bus) -> None:
    refused, behind, other = bus.event("bad"), bus.event("bad"), bus.event("good")
    publisher = Choosy(bus.broker, refused)
    relay = bus.relay(publisher)
    await bus.commit(refused, behind, other)
    assert await relay.publish_once() == 1
    publisher.refused.clear()
    assert await relay.publish_once() == 0
    assert await retry(bus) == 2
    assert await relay.publish_once() == 2
    assert await bus.stored_ids() == [other.id, refused.id, behind.id]
    assert await bus.waiting() == []
    assert await retry(bus) == 0


async def test_what_is_refused_again_is_parked_again(bus: Bus) -> None:
    refused, behind = bus.event("bad"), bus.event("bad")
    relay = bus.relay(Choosy(bus.broker, refused))
    await bus.commit(refused, behind)
    await relay.publish_once()
    for _ in range(2):
        assert await retry(bus) == 2
        assert await relay.publish_once() == 0
    assert await bus.waiting() == [refused.id, behind.id]
    assert [row["parked_reason"] is None for row in await bus.rows(bus.tables.outbox)] == [
        False,
        True,
    ]


async def test_watermarks_go_on_once_what_was_parked_is_published(bus: Bus) -> None:
    refused = bus.event("bad")
    publisher = Choosy(bus.broker, refused)
    await bus.commit(refused)
    [row] = await bus.rows(bus.tables.outbox)
    async with running(bus.relay(publisher, maker(bus), watermark_seconds=0.02)):
        assert {as_of for _, as_of in await at_least(bus, 2)} == {row["recorded_at"]}
        publisher.refused.clear()
        await retry(bus)

        async def later() -> bool:
            return any(as_of > row["recorded_at"] for _, as_of in await at_least(bus, 1))

        await wait_until(later, "a watermark that is newer than the event")


async def test_an_operator_has_them_tried_again_once_per_request(bus: Bus) -> None:
    refused = bus.event("bad")
    publisher = Choosy(bus.broker, refused)
    relay = bus.relay(publisher, poll_seconds=60)
    ops = await servicer(bus, relay)
    await bus.commit(refused)
    await relay.publish_once()
    status = await ops.GetBusStatus(ops_service_pb2.GetBusStatusRequest(), CONTEXT)
    assert status.outbox.parked_count == 1
    publisher.refused.clear()
    assert (await ops.RetryParkedEvents(Request(request_id="r"), CONTEXT)).event_count == 1
    assert relay._woken.is_set()
    await relay.publish_once()
    assert await bus.stored_ids() == [refused.id]
    assert (await ops.RetryParkedEvents(Request(request_id="r"), CONTEXT)).event_count == 1
    assert (await ops.RetryParkedEvents(Request(request_id="s"), CONTEXT)).event_count == 0
