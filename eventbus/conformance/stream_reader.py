"""The contract of a `StreamReader`."""

from datetime import UTC, datetime, timedelta

import pytest

from eventbus.broker import BrokerUnavailable
from eventbus.conformance.harness import BrokerHarness, fetch, publish

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class StreamReaderConformance:
    """A stream can be read by sequence and by time, without an effect on its consumers."""

    async def test_an_empty_stream_has_no_messages(self, broker: BrokerHarness) -> None:
        reader = broker.stream_reader()
        bounds = await reader.bounds()
        assert bounds.first > bounds.last
        assert await reader.first_since(LONG_AGO) == 0
        assert [entry async for entry in reader.read(bounds.first, bounds.last)] == []

    async def test_the_bounds_are_those_of_the_messages_that_are_stored(
        self, broker: BrokerHarness
    ) -> None:
        await publish(broker, 5)
        await broker.delete_message(1)
        bounds = await broker.stream_reader().bounds()
        assert (bounds.first, bounds.last) == (2, 5)
        assert bounds.max_age_seconds >= 0

    async def test_messages_are_read_in_order_and_deleted_ones_skipped(
        self, broker: BrokerHarness
    ) -> None:
        events = await publish(broker, 130)
        for sequence in (60, 100):
            await broker.delete_message(sequence)
        read = [entry.message async for entry in broker.stream_reader().read(58, 103)]
        expected = [58, 59, *range(61, 100), 101, 102, 103]
        assert [message.stream_sequence for message in read] == expected
        for message in read:
            event = events[message.stream_sequence - 1]
            assert (message.subject, message.data) == (event.subject, event.data)
            assert message.headers == event.headers()

    async def test_the_first_message_since_a_moment_is_found(self, broker: BrokerHarness) -> None:
        await publish(broker, 4)
        reader = broker.stream_reader()
        times = [entry.stored_at async for entry in reader.read(1, 4)]
        assert times == sorted(times)
        assert await reader.first_since(LONG_AGO) == 1
        for sequence, stored_at in enumerate(times, start=1):
            # A broker may count finer than Python does.
            found = await reader.first_since(stored_at)
            assert found in {sequence, sequence + 1} or times[found - 1] == stored_at
            assert await reader.first_since(stored_at - timedelta(microseconds=1)) <= sequence
        await broker.delete_message(1)
        assert await reader.first_since(LONG_AGO) == 2
        for moment in (datetime.now(UTC) + timedelta(hours=1), datetime.max.replace(tzinfo=UTC)):
            assert await reader.first_since(moment) == 0

    async def test_a_message_that_is_read_equals_the_delivered_one(
        self, broker: BrokerHarness
    ) -> None:
        await broker.create_consumer("conformance")
        await publish(broker, 3)
        delivered = await fetch(broker.pull_consumer("conformance"), 3)
        read = [entry.message async for entry in broker.stream_reader().read(1, 3)]
        for message, other in zip(read, delivered, strict=True):
            assert (message.subject, message.headers, message.data) == (
                other.subject,
                other.headers,
                other.data,
            )
            assert (message.stream, message.stream_sequence) == (
                other.stream,
                other.stream_sequence,
            )
            assert message.reply == ""

    async def test_reading_delivers_and_acknowledges_nothing(self, broker: BrokerHarness) -> None:
        await broker.create_consumer("conformance")
        await publish(broker, 3)
        assert len([entry async for entry in broker.stream_reader().read(1, 3)]) == 3
        consumer = broker.pull_consumer("conformance")
        lag = await consumer.lag()
        assert (lag.pending, lag.unacknowledged, lag.ack_floor) == (3, 0, 0)
        assert [message.delivery_count for message in await fetch(consumer, 3)] == [1, 1, 1]

    async def test_an_unreachable_broker_is_unavailable(self, broker: BrokerHarness) -> None:
        await publish(broker, 1)
        reader = broker.stream_reader()
        await broker.stop_broker()
        with pytest.raises(BrokerUnavailable):
            await reader.bounds()
        with pytest.raises(BrokerUnavailable):
            await reader.first_since(LONG_AGO)
        with pytest.raises(BrokerUnavailable):
            await anext(reader.read(1, 1))
