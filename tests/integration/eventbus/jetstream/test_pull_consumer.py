"""What the JetStream pull consumer does beyond the promises of every `PullConsumer`."""

from devstack.polling import wait_until
from eventbus.jetstream import JetStreamPullConsumer
from tests.integration.bus import Bus


async def test_messages_that_arrive_late_for_a_fetch_are_returned_within_the_limits_of_later_ones(
    bus: Bus,
) -> None:
    """The library returns all of them to the next fetch, whatever its limit is."""
    events = bus.events(3)
    await bus.send(*events)
    consumer = bus.pull_consumer()
    assert isinstance(consumer, JetStreamPullConsumer)
    pull = await consumer._subscription()
    request = f"$JS.API.CONSUMER.MSG.NEXT.{bus.stream}.{bus.durable}"
    await bus.broker.client().publish(request, b'{"batch": 3}', reply=pull._deliver)

    async def all_arrived() -> bool:
        return bool(pull._sub._pending_queue.qsize() == 3)

    await wait_until(all_arrived, "three messages in the queue of the library")
    fetched = [await consumer.fetch(2, 0.2), await consumer.fetch(2, 0.2)]
    assert [[message.headers["ce-id"] for message in messages] for messages in fetched] == [
        [events[0].id, events[1].id],
        [events[2].id],
    ]


async def test_messages_that_another_replica_answered_are_forgotten(bus: Bus) -> None:
    await bus.send(bus.event())
    consumer = bus.pull_consumer()
    assert isinstance(consumer, JetStreamPullConsumer)
    [message] = await bus.fetch(1, consumer)
    await bus.pull_consumer().ack(message)
    await bus.wait_all_answered()
    await consumer.lag()
    assert consumer._unanswered == set()
