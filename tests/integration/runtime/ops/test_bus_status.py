"""The operator's view of the bus: backlog and lag, and the retry of parked events."""

from datetime import UTC, datetime, timedelta

from devstack.polling import wait_until
from ops.v1 import ops_service_pb2
from runtime.protobuf import to_datetime
from tests.fakes.broker import RefusingPublisher
from tests.integration.drivers.bus import Bus
from tests.integration.runtime.ops.test_servicer import CONTEXT, servicer

Request = ops_service_pb2.RetryParkedEventsRequest


async def test_the_status_shows_the_growing_age_of_a_message_that_is_never_delivered(
    bus: Bus,
) -> None:
    await bus.send(bus.event())
    ops = await servicer(bus, bus.relay())
    request = ops_service_pb2.GetBusStatusRequest()

    async def grows() -> bool:
        [consumer] = (await ops.GetBusStatus(request, CONTEXT)).consumers
        assert consumer.pending_count == 1
        return consumer.oldest_unhandled_age.ToTimedelta().total_seconds() > 0.2

    await wait_until(grows, "a growing age")


async def test_the_status_says_that_a_consumer_is_paused(bus: Bus) -> None:
    ops = await servicer(bus, bus.relay())
    request = ops_service_pb2.GetBusStatusRequest()
    [consumer] = (await ops.GetBusStatus(request, CONTEXT)).consumers
    assert not consumer.paused
    assert not consumer.HasField("paused_until")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    admin = (await bus.administrator()).jetstream()
    await admin.pause_consumer(bus.stream, bus.durable, until.isoformat())
    [consumer] = (await ops.GetBusStatus(request, CONTEXT)).consumers
    assert consumer.paused
    assert to_datetime(consumer.paused_until) == until


async def test_retry_parked_events_is_idempotent_by_its_request_id(bus: Bus) -> None:
    refused = bus.event("bad")
    publisher = RefusingPublisher(bus.broker, refused)
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
