"""The contract of a `PullConsumer`."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from eventbus.broker import BrokerUnavailable, ConsumerLag, PullConsumer
from eventbus.conformance.harness import (
    BrokerHarness,
    event_id,
    fetch,
    new_event,
    publish,
    wait_until,
    wait_until_unavailable,
)

DURABLE = "conformance"


async def lag_is(consumer: PullConsumer, pending: int, unacknowledged: int, floor: int) -> None:
    """Waits for a lag: a broker may process answers asynchronously."""

    async def reached() -> bool:
        lag = await consumer.lag()
        return (lag.pending, lag.unacknowledged, lag.ack_floor) == (
            pending,
            unacknowledged,
            floor,
        )

    await wait_until(reached)


async def assert_oldest(broker: BrokerHarness, consumer: PullConsumer, sequence: int) -> None:
    """Asserts that the oldest unanswered message is the one with this sequence."""
    stored = await anext(broker.stream_reader().read(sequence, sequence))
    before = datetime.now(UTC)
    age = timedelta(seconds=await consumer.oldest_unhandled_age(await consumer.lag()))
    tolerance = timedelta(milliseconds=1)
    assert before - age - tolerance <= stored.stored_at
    assert stored.stored_at <= datetime.now(UTC) - age + tolerance


class PullConsumerConformance:
    """Each message is delivered in order, until it is acknowledged or terminated."""

    async def test_messages_are_delivered_in_order_and_complete(
        self, broker: BrokerHarness
    ) -> None:
        await broker.create_consumer(DURABLE)
        events = await publish(broker, 10)
        messages = await fetch(broker.pull_consumer(DURABLE), 10)
        for sequence, (event, message) in enumerate(zip(events, messages, strict=True), start=1):
            assert (message.subject, message.data) == (event.subject, event.data)
            assert message.headers == event.headers()
            assert (message.stream_sequence, message.delivery_count) == (sequence, 1)

    async def test_a_fetch_returns_at_most_its_limit(self, broker: BrokerHarness) -> None:
        await broker.create_consumer(DURABLE)
        await publish(broker, 5)
        consumer = broker.pull_consumer(DURABLE)
        assert 1 <= len(await consumer.fetch(3, 5.0)) <= 3
        assert len(await consumer.fetch(1, 5.0)) == 1

    async def test_a_fetch_from_an_idle_stream_returns_nothing(self, broker: BrokerHarness) -> None:
        await broker.create_consumer(DURABLE)
        assert await broker.pull_consumer(DURABLE).fetch(10, 0.1) == []

    async def test_a_new_durable_consumer_gets_events_that_are_older(
        self, broker: BrokerHarness
    ) -> None:
        events = await publish(broker, 5)
        await broker.create_consumer(DURABLE)
        messages = await fetch(broker.pull_consumer(DURABLE), 5)
        assert [event_id(message) for message in messages] == [event.id for event in events]

    async def test_each_durable_consumer_gets_every_message(self, broker: BrokerHarness) -> None:
        for durable in ("first", "second"):
            await broker.create_consumer(durable)
        [event] = await publish(broker, 1)
        for durable in ("first", "second"):
            consumer = broker.pull_consumer(durable)
            [message] = await fetch(consumer, 1)
            assert event_id(message) == event.id
            await consumer.ack(message)

    async def test_replicas_share_the_messages_of_a_durable_consumer(
        self, broker: BrokerHarness
    ) -> None:
        await broker.create_consumer(DURABLE)
        events = await publish(broker, 30)
        replicas = [broker.pull_consumer(DURABLE) for _ in range(3)]
        delivered: list[str] = []

        async def all_delivered() -> bool:
            for messages in await asyncio.gather(*(one.fetch(4, 0.2) for one in replicas)):
                delivered.extend(event_id(message) for message in messages)
            return len(delivered) >= len(events)

        await wait_until(all_delivered)
        assert Counter(delivered) == Counter(event.id for event in events)

    async def test_only_messages_of_its_subjects_are_delivered(self, broker: BrokerHarness) -> None:
        filters = [f"{broker.domain}.v1.Later", f"{broker.domain}.v1.Happened.*"]
        await broker.create_consumer(DURABLE, filter_subjects=filters)
        events = [
            new_event(broker, name="Other"),
            new_event(broker, "a"),
            new_event(broker, "a", name="Later"),
            new_event(broker, name="Later"),
        ]
        for event in events:
            await broker.publisher.publish(event)
        consumer = broker.pull_consumer(DURABLE)
        assert set((await consumer.lag()).filters) == set(filters)
        messages = await fetch(consumer, 2)
        assert [event_id(message) for message in messages] == [events[1].id, events[3].id]
        await lag_is(consumer, 0, 2, 0)

    @pytest.mark.parametrize("answer", ["ack", "term"])
    async def test_an_acknowledged_or_terminated_message_is_not_redelivered(
        self, broker: BrokerHarness, answer: str
    ) -> None:
        """A message of the same age that was not answered is."""
        await broker.create_consumer(DURABLE, ack_wait_seconds=1)
        _, unanswered = await publish(broker, 2)
        consumer = broker.pull_consumer(DURABLE)
        message, _ = await fetch(consumer, 2)
        if answer == "ack":
            await consumer.ack(message)
        else:
            await consumer.term(message, "a reason")
        [redelivered] = await fetch(broker.pull_consumer(DURABLE), 1)
        assert (event_id(redelivered), redelivered.delivery_count) == (unanswered.id, 2)
        assert redelivered.stream_sequence == 2
        await consumer.ack(redelivered)
        await lag_is(consumer, 0, 0, 2)

    async def test_a_message_is_redelivered_after_the_delay_of_its_nak(
        self, broker: BrokerHarness
    ) -> None:
        await broker.create_consumer(DURABLE, ack_wait_seconds=120)
        await publish(broker, 1)
        consumer, clock = broker.pull_consumer(DURABLE), asyncio.get_running_loop().time
        [message] = await fetch(consumer, 1)
        naked_at = clock()
        await consumer.nak(message, 0.5)
        [redelivered] = await fetch(consumer, 1)
        assert redelivered.delivery_count == 2
        assert clock() - naked_at >= 0.45

    async def test_a_message_in_progress_is_not_redelivered(self, broker: BrokerHarness) -> None:
        """A message of the same age that is not in progress is."""
        await broker.create_consumer(DURABLE, ack_wait_seconds=1)
        _, abandoned = await publish(broker, 2)
        consumer, replica = broker.pull_consumer(DURABLE), broker.pull_consumer(DURABLE)
        message, _ = await fetch(consumer, 2)
        redelivered: list[str] = []

        async def abandoned_is_redelivered() -> bool:
            await consumer.in_progress(message)
            redelivered.extend(event_id(other) for other in await replica.fetch(2, 0.1))
            return bool(redelivered)

        await wait_until(abandoned_is_redelivered)
        assert redelivered == [abandoned.id]

    async def test_progress_after_an_answer_has_no_effect(self, broker: BrokerHarness) -> None:
        await broker.create_consumer(DURABLE, ack_wait_seconds=120)
        await publish(broker, 1)
        consumer = broker.pull_consumer(DURABLE)
        [message] = await fetch(consumer, 1)
        await consumer.nak(message, 0.1)
        await consumer.in_progress(message)
        [redelivered] = await fetch(consumer, 1)
        assert redelivered.delivery_count == 2

    async def test_answers_to_a_message_that_was_read_have_no_effect(
        self, broker: BrokerHarness
    ) -> None:
        """Reconciliation handles messages that it has read from the stream."""
        await broker.create_consumer(DURABLE)
        [event] = await publish(broker, 1)
        consumer = broker.pull_consumer(DURABLE)
        stored = await anext(broker.stream_reader().read(1, 1))
        await consumer.in_progress(stored.message)
        await consumer.nak(stored.message, 0.1)
        await consumer.term(stored.message, "a reason")
        await consumer.ack(stored.message)
        [message] = await fetch(consumer, 1)
        assert (event_id(message), message.delivery_count) == (event.id, 1)

    async def test_the_lag_counts_undelivered_and_unanswered_messages(
        self, broker: BrokerHarness
    ) -> None:
        await broker.create_consumer(DURABLE)
        consumer = broker.pull_consumer(DURABLE)
        await lag_is(consumer, 0, 0, 0)
        await publish(broker, 5)
        messages = await fetch(consumer, 3)
        await lag_is(consumer, 2, 3, 0)
        for message in messages[1:]:
            await consumer.ack(message)
        await lag_is(consumer, 2, 1, 0)
        await consumer.ack(messages[0])
        await lag_is(consumer, 2, 0, 3)

    async def test_the_age_is_that_of_the_oldest_unanswered_message_of_any_replica(
        self, broker: BrokerHarness
    ) -> None:
        await broker.create_consumer(DURABLE)
        consumer, replica = broker.pull_consumer(DURABLE), broker.pull_consumer(DURABLE)
        assert await consumer.oldest_unhandled_age(await consumer.lag()) == 0.0
        await publish(broker, 3)
        await assert_oldest(broker, consumer, 1)  # not delivered
        first, second = await fetch(replica, 2)
        await replica.ack(second)
        await lag_is(consumer, 1, 1, 0)
        await assert_oldest(broker, consumer, 1)  # delivered to the replica
        await replica.ack(first)
        await lag_is(consumer, 1, 0, 2)
        await assert_oldest(broker, consumer, 3)
        [third] = await fetch(replica, 1)
        await replica.ack(third)
        await lag_is(consumer, 0, 0, 3)
        assert await consumer.oldest_unhandled_age(await consumer.lag()) == 0.0

    async def test_the_age_ignores_messages_of_other_subjects(self, broker: BrokerHarness) -> None:
        filters = [f"{broker.domain}.v1.Later", f"{broker.domain}.v1.Happened.*"]
        await broker.create_consumer(DURABLE, filter_subjects=filters)
        consumer = broker.pull_consumer(DURABLE)
        await broker.publisher.publish(new_event(broker, name="Other"))
        assert await consumer.oldest_unhandled_age(await consumer.lag()) == 0.0
        await broker.publisher.publish(new_event(broker, "a"))
        await broker.publisher.publish(new_event(broker, name="Later"))
        await assert_oldest(broker, consumer, 2)

    async def test_the_lag_of_a_consumer_that_does_not_exist_is_unavailable(
        self, broker: BrokerHarness
    ) -> None:
        with pytest.raises(BrokerUnavailable):
            await broker.pull_consumer("absent").lag()

    async def test_an_unreachable_broker_is_unavailable_and_redelivers_once_it_is_back(
        self, broker: BrokerHarness
    ) -> None:
        await broker.create_consumer(DURABLE, ack_wait_seconds=1)
        [event] = await publish(broker, 1)
        consumer = broker.pull_consumer(DURABLE)
        [message] = await fetch(consumer, 1)
        await broker.stop_broker()
        await wait_until_unavailable(lambda: consumer.fetch(1, 0.1))
        with pytest.raises(BrokerUnavailable):
            await consumer.lag()
        with pytest.raises(BrokerUnavailable):
            await consumer.oldest_unhandled_age(ConsumerLag(1, 0, 0, (">",)))
        await consumer.in_progress(message)
        await consumer.ack(message)  # lost, without an error
        await broker.start_broker()
        [redelivered] = await fetch(consumer, 1)
        assert event_id(redelivered) == event.id
        await consumer.ack(redelivered)
        await lag_is(consumer, 0, 0, 1)
