"""The contract of a `Publisher`."""

from itertools import pairwise

import pytest

from eventbus.broker import BatchRefused, BrokerUnavailable, EventRefused
from eventbus.conformance.harness import (
    BrokerHarness,
    new_event,
    new_events,
    publish,
    stored_ids,
    wait_until,
)
from eventbus.event import parse


class PublisherConformance:
    """Stored events are complete, in order, stored once, and all or none of a batch."""

    async def test_an_event_is_stored_with_its_envelope_and_body(
        self, broker: BrokerHarness
    ) -> None:
        [event] = await publish(broker, 1)
        [stored] = [entry async for entry in broker.stream_reader().read(1, 1)]
        message = stored.message
        assert message.subject == event.subject
        assert parse(message.subject, message.headers, message.data) == event

    async def test_events_are_stored_in_the_order_of_their_publication(
        self, broker: BrokerHarness
    ) -> None:
        events = await publish(broker, 20)
        assert await stored_ids(broker) == [event.id for event in events]

    async def test_an_event_published_again_is_stored_once(self, broker: BrokerHarness) -> None:
        event = new_event(broker)
        for _ in range(3):
            await broker.publisher.publish(event)
        assert await stored_ids(broker) == [event.id]

    async def test_an_event_that_the_stream_lost_is_stored_again_and_then_once(
        self, broker: BrokerHarness
    ) -> None:
        """The broker may have its id in a record of duplicates; the event is not in the stream."""
        event = new_event(broker)
        await broker.publisher.publish(event)
        await broker.delete_message(1)
        for _ in range(2):
            await broker.publisher.publish(event)
            assert await stored_ids(broker) == [event.id]

    async def test_a_batch_is_stored_whole_and_in_order(self, broker: BrokerHarness) -> None:
        events = new_events(broker, 50)
        await broker.publisher.publish_batch(events)
        assert await stored_ids(broker) == [event.id for event in events]
        reader = broker.stream_reader()
        sequences = [entry.message.stream_sequence async for entry in reader.read(1, 50)]
        assert all(later == earlier + 1 for earlier, later in pairwise(sequences))

    async def test_a_batch_with_a_stored_event_is_refused_and_nothing_of_it_is_stored(
        self, broker: BrokerHarness
    ) -> None:
        events = new_events(broker, 5)
        await broker.publisher.publish(events[2])
        with pytest.raises(BatchRefused):
            await broker.publisher.publish_batch(events)
        assert await stored_ids(broker) == [events[2].id]

    async def test_an_event_that_is_too_large_is_refused_permanently(
        self, broker: BrokerHarness
    ) -> None:
        large, small = new_event(broker, size=broker.refused_size), new_event(broker)
        with pytest.raises(EventRefused):
            await broker.publisher.publish(large)
        with pytest.raises((EventRefused, BatchRefused)):
            await broker.publisher.publish_batch([small, large])
        assert await stored_ids(broker) == []
        await broker.publisher.publish(small)

    async def test_publishing_to_an_unreachable_broker_raises_and_works_once_it_is_back(
        self, broker: BrokerHarness
    ) -> None:
        events = new_events(broker, 3)
        await broker.stop_broker()
        with pytest.raises(BrokerUnavailable):
            await broker.publisher.publish(events[0])
        with pytest.raises(BrokerUnavailable):
            await broker.publisher.publish_batch(events[1:])
        await broker.start_broker()

        async def published() -> bool:
            for event in events:
                await broker.publisher.publish(event)
            return True

        await wait_until(published)
        assert await stored_ids(broker) == [event.id for event in events]
