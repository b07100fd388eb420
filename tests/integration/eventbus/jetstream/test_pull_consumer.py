"""What the JetStream pull consumer does beyond the promises of every `PullConsumer`."""

import asyncio
from datetime import UTC, datetime, timedelta

from structlog.testing import capture_logs

from devstack.polling import wait_until
from eventbus.durable_check import DurableCheck
from eventbus.jetstream import JetStreamPullConsumer
from tests.integration.drivers.bus import Bus


async def test_messages_that_arrive_late_for_a_fetch_are_returned_within_the_limits_of_later_ones(
    bus: Bus,
) -> None:
    """A request whose time has passed here may still be active at the broker."""
    events = bus.events(3)
    await bus.send(*events)
    consumer = bus.pull_consumer()
    assert isinstance(consumer, JetStreamPullConsumer)
    await consumer._subscribe(10.0)
    request = f"$JS.API.CONSUMER.MSG.NEXT.{bus.stream}.{bus.durable}"
    reply = f"{consumer._inbox}.0"
    await bus.broker.client().publish(request, b'{"batch": 3}', reply=reply)

    async def all_arrived() -> bool:
        return len(consumer._arrived) == 3

    await wait_until(all_arrived, "three messages that no fetch has returned")
    fetched = [await consumer.fetch(2, 0.2), await consumer.fetch(2, 0.2)]
    assert [[message.headers["ce-id"] for message in messages] for messages in fetched] == [
        [events[0].id, events[1].id],
        [events[2].id],
    ]


async def test_the_end_of_an_earlier_request_does_not_end_a_later_one(bus: Bus) -> None:
    """The broker may state the end of a request after its time has passed here."""
    consumer = bus.pull_consumer()
    assert isinstance(consumer, JetStreamPullConsumer)
    await consumer.fetch(1, 0.05)
    fetching = asyncio.create_task(consumer.fetch(1, 30.0))

    async def waits_for_a_message() -> bool:
        return consumer._request is not None and consumer._request.missing == 1

    await wait_until(waits_for_a_message, "the later request is under way")
    client = bus.broker.client()
    status = {"Status": "408", "Description": "Request Timeout"}
    await client.publish(f"{consumer._inbox}.0", b"", headers=status)
    await client.flush()
    assert not fetching.done()
    event = bus.event()
    await bus.send(event)
    [message] = await fetching
    assert message.headers["ce-id"] == event.id


async def test_a_fetch_takes_what_is_there_at_once(bus: Bus) -> None:
    """It does not wait for as many messages as its limit allows."""
    await bus.send(*bus.events(3))
    consumer = bus.pull_consumer()
    async with asyncio.timeout(20):
        assert len(await consumer.fetch(100, 60.0)) == 3


async def test_a_paused_consumer_differs_from_an_idle_one(bus: Bus) -> None:
    """The lag states until when; after it was resumed, it is not paused any more."""
    admin = (await bus.administrator()).jetstream()
    consumer = bus.pull_consumer()
    await bus.send(bus.event())
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    await admin.pause_consumer(bus.stream, bus.durable, until.isoformat())
    lag = await consumer.lag()
    assert (lag.paused_until, lag.pending) == (until, 1)
    assert await consumer.fetch(1, 0.1) == []
    await admin.resume_consumer(bus.stream, bus.durable)
    assert (await consumer.lag()).paused_until is None
    assert len(await bus.fetch(1, consumer)) == 1


async def test_a_pause_is_logged_once(bus: Bus) -> None:
    admin = (await bus.administrator()).jetstream()
    check = DurableCheck(bus.pull_consumer(), "listener")
    until = datetime.now(UTC) + timedelta(hours=1)
    await admin.pause_consumer(bus.stream, bus.durable, until.isoformat())
    with capture_logs() as logs:
        for _ in range(2):
            check._due_at = 0.0
            await check.run_if_due()
    assert [entry["event"] for entry in logs] == ["durable consumer paused"]


async def test_messages_that_another_replica_answered_are_forgotten(bus: Bus) -> None:
    await bus.send(bus.event())
    consumer = bus.pull_consumer()
    assert isinstance(consumer, JetStreamPullConsumer)
    [message] = await bus.fetch(1, consumer)
    await bus.pull_consumer().ack(message)
    await bus.wait_all_answered()
    await consumer.lag()
    assert consumer._unanswered == set()
