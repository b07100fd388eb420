"""Committed events reach the stream in order, at least once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.js.api import StreamConfig
from sqlalchemy import text

from devstack.polling import wait_until
from eventbus import Relay, RelaySettings
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import JetStream
from tests.fakes.broker import Crash, InterruptedPublisher, RecordingPublisher
from tests.integration.drivers.bus import Bus, OpenBus, assert_each_once
from tests.integration.drivers.worker_runner import running


async def test_events_are_published_in_the_order_of_the_outbox(bus: Bus) -> None:
    events = bus.events(60, keys=4)
    await bus.commit(*events[:31])
    await bus.commit(*events[31:])
    await bus.publish_all(bus.relay(batch_size=7))
    assert await bus.stored_ids() == [event.id for event in events]


async def test_several_events_are_published_as_one_atomic_batch(bus: Bus) -> None:
    events, recorder = bus.events(20), RecordingPublisher(bus.broker)
    await bus.commit(*events)
    await bus.relay(recorder).publish_once()
    assert recorder.batches == [[event.id for event in events]]
    assert recorder.singles == []


async def test_while_a_batch_is_published_the_one_before_it_is_marked(bus: Bus) -> None:
    """An event is marked only after the broker has stored it, and without another batch's end."""
    events = bus.events(15)
    published: list[list[str]] = []

    async def wait_for_marks() -> None:
        expected = [event.id for event in events[: 5 * len(published)]]
        published.append([])

        async def earlier_ones_marked() -> bool:
            return await bus.published() == expected

        await wait_until(earlier_ones_marked, "the batches before are marked, and no other")

    await bus.commit(*events)
    relay = bus.relay(InterruptedPublisher(bus.broker, wait_for_marks), batch_size=5)
    assert await relay.publish_once() == 15
    assert await bus.published() == [event.id for event in events]


async def test_the_batch_before_one_whose_publication_fails_is_marked(bus: Bus) -> None:
    """And the pass ends: later events would overtake those whose fate is unknown."""
    events, batches = bus.events(15), 0

    async def fail_second() -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise ConnectionResetError

    await bus.commit(*events)
    relay = bus.relay(InterruptedPublisher(bus.broker, fail_second), batch_size=5)
    with pytest.raises(ConnectionResetError):
        await relay.publish_once()
    assert await bus.published() == [event.id for event in events[:5]]
    assert await bus.stored_ids() == [event.id for event in events[:10]]
    await bus.publish_all(relay)
    assert await bus.stored_ids() == [event.id for event in events]
    assert await bus.published() == [event.id for event in events]


async def test_a_pass_ends_before_its_lease_does(bus: Bus) -> None:
    """The lease would end while the next batch, which was read already, is published."""
    await bus.commit(*bus.events(10))
    assert await bus.relay(batch_size=5, lease_seconds=0.001).publish_once() == 5


async def test_published_rows_move_to_outbox_published(bus: Bus) -> None:
    await bus.commit(*bus.events(5))
    before = await bus.rows(bus.tables.outbox)
    await bus.relay().publish_once()
    after = await bus.rows(bus.tables.outbox_published)
    for row in before:
        del row["parked_reason"]
    for row in after:
        assert row.pop("published_at") >= row["recorded_at"]
    assert after == before
    assert await bus.unpublished() == []


async def test_a_crash_between_publish_and_mark_publishes_again_under_the_same_id(bus: Bus) -> None:
    async def crash() -> None:
        raise Crash

    events = bus.events(5)
    await bus.commit(*events)
    crashing = bus.relay(InterruptedPublisher(bus.broker, crash), lease_seconds=0.001)
    with pytest.raises(Crash):
        await crashing.publish_once()
    assert await bus.unpublished() == [event.id for event in events]
    assert await bus.stored_ids() == [event.id for event in events]

    recorder = RecordingPublisher(bus.broker)
    successor = bus.relay(recorder)

    async def successor_publishes() -> bool:
        return await successor.publish_once() == 5

    await wait_until(successor_publishes, "the successor has published all")
    assert recorder.singles == [event.id for event in events]
    assert await bus.unpublished() == []
    assert_each_once(await bus.stored_ids(), events)


async def test_an_event_published_twice_has_one_effect_after_the_duplicate_window_too(
    bus: Bus,
) -> None:
    """The broker keeps ids for a while; the inbox keeps marks longer."""
    events = bus.events(4)
    await bus.send(*events)
    for event in events:
        await bus.send_copy(event)
    assert len(await bus.stored_ids()) == 8
    await bus.deliver_until_done(bus.consumer())
    assert_each_once(await bus.effect_ids(), events)


async def test_a_batch_with_a_published_event_falls_back_to_single_publishes(
    bus: Bus,
) -> None:
    events, recorder = bus.events(5), RecordingPublisher(bus.broker)
    await bus.commit(*events)
    await bus.broker.publish(events[2])
    assert await bus.relay(recorder).publish_once() == 5
    assert recorder.batches == []
    assert_each_once(await bus.stored_ids(), events)
    assert await bus.unpublished() == []
    assert await bus.published() == [event.id for event in events]


async def test_a_batch_is_read_by_the_index_however_many_events_wait(bus: Bus) -> None:
    """Also without statistics, which PostgreSQL has none of while the table is empty."""
    await bus.commit(*bus.events(3_000, keys=1_000))
    unpublished = bus.relay()._unpublished
    dialect, literal = bus.engine.dialect, {"literal_binds": True}
    query = unpublished._next.params(after=0, limit=5).compile(
        dialect=dialect, compile_kwargs=literal
    )
    async with bus.engine.connect() as connection:
        await connection.execute(unpublished._prepare)
        plan = "\n".join((await connection.execute(text(f"EXPLAIN {query}"))).scalars())
    assert "Index Scan using outbox_pkey" in plan
    assert "Index Only Scan using outbox_parked_idx" in plan


async def test_events_wait_for_a_broker_that_is_down_and_are_published_when_it_is_back(
    bus: Bus,
) -> None:
    events, relay = bus.events(30), bus.relay(batch_size=10)
    await bus.stack.kill("nats")
    async with running(relay):

        async def failing() -> bool:
            return bool(relay.current_error)

        await bus.commit(*events)
        await wait_until(failing, "the relay reports the error")
        assert len(await bus.unpublished()) == 30
        await bus.stack.start("nats")

        async def all_published() -> bool:
            return not await bus.unpublished()

        async def recovered() -> bool:
            return not relay.current_error

        await wait_until(all_published, "the outbox is empty")
        await wait_until(recovered, "the error is cleared")
    assert await bus.stored_ids() == [event.id for event in events]


async def test_events_wait_for_a_full_stream_and_none_is_lost(new_bus: OpenBus) -> None:
    bus = await new_bus(max_bytes=40_000)
    events = [bus.event(f"k{n}", data=b"x" * 3_000) for n in range(30)]
    await bus.commit(*events)
    relay = bus.relay(batch_size=10)
    with pytest.raises(BrokerUnavailable, match="maximum bytes"):
        await bus.publish_all(relay)
    stored, unpublished = await bus.stored_ids(), await bus.unpublished()
    assert 0 < len(stored) < 30
    assert stored + unpublished == [event.id for event in events]

    js = (await bus.administrator()).jetstream()
    config: StreamConfig = (await js.stream_info(bus.stream)).config
    config.max_bytes = 1_000_000
    await js.update_stream(config)
    await bus.publish_all(relay)
    assert await bus.stored_ids() == [event.id for event in events]
    assert await bus.unpublished() == []


async def test_concurrent_relays_publish_each_event_once_and_in_order(bus: Bus) -> None:
    relays = [bus.relay(batch_size=5) for _ in range(3)]
    events = bus.events(100, keys=3)
    async with running(*relays):
        for start in range(0, 100, 10):
            await bus.commit(*events[start : start + 10])

        async def all_published() -> bool:
            return not await bus.unpublished()

        await wait_until(all_published, "the outbox is empty")
    assert await bus.stored_ids() == [event.id for event in events]


async def test_a_woken_relay_publishes_without_waiting_for_its_next_poll(bus: Bus) -> None:
    relay = bus.relay(poll_seconds=3600)
    async with running(relay):

        async def first_pass_made() -> bool:
            return bool(await bus.rows(bus.tables.relay_lease))

        await wait_until(first_pass_made, "the relay's first pass")
        await bus.commit(bus.event("a"))

        async def all_published() -> bool:
            relay.wake()
            return not await bus.unpublished()

        await wait_until(all_published, "the outbox is empty")


@asynccontextmanager
async def process(bus: Bus) -> AsyncIterator[Relay]:
    """The relay of one process of a service; it polls so rarely that only signals wake it."""
    broker = JetStream(bus.stack.nats_login("admin"), bus.domain)
    settings = RelaySettings(poll_seconds=3600, lease_seconds=3600)
    signal = broker.relay_signal(bus.domain)
    relay = Relay(bus.engine, bus.tables, broker, settings, signal=signal)
    broker.open()
    try:
        await broker.wait_connected(10)
        async with running(relay):
            yield relay
    finally:
        await broker.close()


async def test_waking_a_relay_without_the_lease_wakes_the_one_that_has_it(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service's calls are spread over its processes, of which one publishes."""
    monkeypatch.setattr("eventbus.relay._MAX_PAUSE_SECONDS", 3600)
    async with process(bus) as first:

        async def first_has_the_lease() -> bool:
            return bool(await bus.rows(bus.tables.relay_lease))

        await wait_until(first_has_the_lease, "the first relay has the lease")
        async with process(bus) as second:
            for number in range(3):
                await bus.commit(bus.event("a", number))

                async def all_published() -> bool:
                    second.wake()
                    return not await bus.unpublished()

                await wait_until(all_published, "the outbox is empty")
        assert first.current_error == ""


async def test_a_relay_that_is_never_woken_publishes_by_polling(bus: Bus) -> None:
    async with running(bus.relay()):
        await bus.commit(bus.event("a"))

        async def all_published() -> bool:
            return not await bus.unpublished()

        await wait_until(all_published, "the outbox is empty")


async def test_stopping_publishes_committed_events_first(bus: Bus) -> None:
    events = bus.events(25)
    await bus.commit(*events)
    relay = bus.relay(batch_size=10)
    relay.stop()
    await relay.run()
    assert await bus.stored_ids() == [event.id for event in events]


async def test_a_relay_survives_an_outage_of_its_database(bus: Bus) -> None:
    relay = bus.relay()
    async with running(relay):
        await bus.stack.kill("postgres")

        async def failing() -> bool:
            return bool(relay.current_error)

        await wait_until(failing, "the relay reports the error")
        await bus.stack.start("postgres")
        events = bus.events(3)
        await bus.commit(*events)

        async def all_published() -> bool:
            return not await bus.unpublished()

        await wait_until(all_published, "the outbox is empty")
    assert await bus.stored_ids() == [event.id for event in events]
