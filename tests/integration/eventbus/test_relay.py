"""Promises of the relay: committed events reach the stream in order, by one relay at a time."""

from datetime import timedelta

import pytest
from nats.js.api import StreamConfig
from sqlalchemy import func, update

from devstack.polling import wait_until
from eventbus import Outbox, Relay
from eventbus.broker import BrokerUnavailable
from eventbus.outbox import backlog
from tests.integration.bus import Bus, OpenBus, assert_each_once
from tests.integration.faulty_broker import AfterPublish, Crash, Recorder
from tests.integration.worker_runner import running

TOO_LARGE = b"x" * 1_100_000  # for nats-server's max_payload, not for this test's outbox
ROOMY = 2_000_000


async def publish_all(relay: Relay) -> None:
    while await relay.publish_once():
        pass


async def test_events_are_published_in_the_order_of_the_outbox(bus: Bus) -> None:
    events = bus.events(60, keys=4)
    await bus.commit(*events[:31])
    await bus.commit(*events[31:])
    await publish_all(bus.relay(batch_size=7))
    assert await bus.stored_ids() == [event.id for event in events]


async def test_a_batch_is_published_as_one_atomic_batch(bus: Bus) -> None:
    events, recorder = bus.events(20), Recorder(bus.broker)
    await bus.commit(*events)
    await bus.relay(recorder).publish_once()
    assert recorder.batches == [[event.id for event in events]]
    assert recorder.singles == []


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
    assert await bus.waiting() == []


async def test_a_crash_between_publish_and_mark_publishes_again_under_the_same_id(bus: Bus) -> None:
    async def crash() -> None:
        raise Crash

    events = bus.events(5)
    await bus.commit(*events)
    dying = bus.relay(AfterPublish(bus.broker, crash), lease_seconds=0.001)
    with pytest.raises(Crash):
        await dying.publish_once()
    assert await bus.waiting() == [event.id for event in events]
    assert await bus.stored_ids() == [event.id for event in events]

    recorder = Recorder(bus.broker)
    heir = bus.relay(recorder)

    async def lease_passed() -> bool:
        return await heir.publish_once() == 5

    await wait_until(lease_passed, "the heir published all")
    assert recorder.singles == [event.id for event in events]
    assert await bus.waiting() == []
    assert_each_once(await bus.stored_ids(), events)


async def test_what_is_published_twice_has_one_effect_beyond_the_brokers_deduplication(
    bus: Bus,
) -> None:
    """The broker forgets ids after a while; the inbox doesn't."""
    events = bus.events(4)
    await bus.send(*events)
    for event in events:
        await bus.send_copy(event)
    assert len(await bus.stored_ids()) == 8
    await bus.deliver_until_done(bus.consumer())
    assert_each_once(await bus.effect_ids(), events)


async def test_a_batch_with_an_id_published_before_falls_back_to_single_publishes(
    bus: Bus,
) -> None:
    events, recorder = bus.events(5), Recorder(bus.broker)
    await bus.commit(*events)
    await bus.broker.publish(events[2])
    assert await bus.relay(recorder).publish_once() == 5
    assert recorder.batches == []
    assert_each_once(await bus.stored_ids(), events)
    assert await bus.waiting() == []
    assert await bus.published() == [event.id for event in events]


async def test_while_the_broker_is_down_rows_stay_and_go_out_when_it_is_back(bus: Bus) -> None:
    events, relay = bus.events(30), bus.relay(batch_size=10)
    await bus.stack.kill("nats")
    async with running(relay):

        async def troubled() -> bool:
            return bool(relay.trouble)

        await bus.commit(*events)
        await wait_until(troubled, "the relay noticed")
        assert len(await bus.waiting()) == 30
        await bus.stack.start("nats")

        async def gone() -> bool:
            return not await bus.waiting()

        async def calm() -> bool:
            return not relay.trouble

        await wait_until(gone, "the outbox is empty")
        await wait_until(calm, "the trouble is forgotten")
    assert await bus.stored_ids() == [event.id for event in events]


async def test_a_full_stream_holds_the_outbox_and_nothing_is_lost(new_bus: OpenBus) -> None:
    bus = await new_bus(max_bytes=40_000)
    events = [bus.event(f"k{n}", data=b"x" * 3_000) for n in range(30)]
    await bus.commit(*events)
    relay = bus.relay(batch_size=10)
    with pytest.raises(BrokerUnavailable, match="maximum bytes"):
        await publish_all(relay)
    stored, waiting = await bus.stored_ids(), await bus.waiting()
    assert 0 < len(stored) < 30
    assert stored + waiting == [event.id for event in events]

    js = (await bus.administrator()).jetstream()
    config: StreamConfig = (await js.stream_info(bus.stream)).config
    config.max_bytes = 1_000_000
    await js.update_stream(config)
    await publish_all(relay)
    assert await bus.stored_ids() == [event.id for event in events]
    assert await bus.waiting() == []


async def test_an_event_refused_for_good_is_parked_with_its_key_and_others_go_on(bus: Bus) -> None:
    roomy = Outbox(bus.tables, max_data_bytes=ROOMY)
    before, refused = bus.event("bad"), bus.event("bad", data=TOO_LARGE)
    behind, other = bus.event("bad"), bus.event("good")
    await bus.commit(before, refused, behind, other, outbox=roomy)
    relay = bus.relay()
    assert await relay.publish_once() == 2
    later_behind, later = bus.event("bad"), bus.event("good")
    await bus.commit(later_behind, later)
    assert await relay.publish_once() == 1
    assert await relay.publish_once() == 0
    assert await bus.stored_ids() == [before.id, other.id, later.id]
    assert await bus.waiting() == [refused.id, behind.id, later_behind.id]


async def test_parked_events_and_those_behind_them_are_counted_and_their_reason_kept(
    bus: Bus,
) -> None:
    roomy = Outbox(bus.tables, max_data_bytes=ROOMY)
    await bus.commit(bus.event("bad", data=TOO_LARGE), bus.event("bad"), outbox=roomy)
    await bus.relay().publish_once()
    await bus.commit(bus.event("good"))
    async with bus.engine.connect() as connection:
        waiting = await backlog(connection, bus.tables)
    assert (waiting.count, waiting.parked) == (3, 2)
    reasons = [row["parked_reason"] for row in await bus.rows(bus.tables.outbox)]
    assert "max" in reasons[0].lower()
    assert reasons[1:] == [None, None]


async def test_a_released_parked_event_goes_out_before_those_behind_it(bus: Bus) -> None:
    roomy = Outbox(bus.tables, max_data_bytes=ROOMY)
    refused, behind = bus.event("bad", data=TOO_LARGE), bus.event("bad")
    await bus.commit(refused, behind, outbox=roomy)
    relay = bus.relay()
    await relay.publish_once()
    await bus.execute(update(bus.tables.outbox).values(parked_reason=None, data=b"small"))
    assert await relay.publish_once() == 2
    assert await bus.stored_ids() == [refused.id, behind.id]


async def test_a_parked_event_without_a_key_holds_up_no_other_event_without_a_key(
    bus: Bus,
) -> None:
    """Events without a key belong to no one thing."""
    await bus.commit(bus.event(data=TOO_LARGE), outbox=Outbox(bus.tables, max_data_bytes=ROOMY))
    relay = bus.relay()
    await relay.publish_once()
    await bus.commit(bus.event())
    assert await relay.publish_once() == 1


async def test_of_two_relays_only_the_holder_of_the_lease_publishes(bus: Bus) -> None:
    holder, other = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    await holder.publish_once()
    await bus.commit(*bus.events(3))
    assert await other.publish_once() == 0
    assert await bus.stored_ids() == []
    assert await holder.publish_once() == 3
    await bus.commit(*bus.events(2))
    assert await other.publish_once() == 0


async def test_the_lease_passes_on_once_it_has_expired(bus: Bus) -> None:
    former, heir = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    await former.publish_once()
    await bus.commit(*bus.events(3))
    await _expire_lease(bus)
    assert await heir.publish_once() == 3
    await bus.commit(*bus.events(1))
    assert await former.publish_once() == 0


async def test_a_relay_that_stops_gives_its_lease_back_at_once(bus: Bus) -> None:
    former, heir = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    async with running(former):

        async def held() -> bool:
            return bool(await bus.rows(bus.tables.relay_lease))

        await wait_until(held, "the lease is held")
    await bus.commit(*bus.events(3))
    assert await heir.publish_once() == 3


async def test_a_relay_that_stops_doesnt_give_back_the_lease_of_another(bus: Bus) -> None:
    holder, other = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    await holder.publish_once()
    async with running(other):
        pass
    [lease] = await bus.rows(bus.tables.relay_lease)
    assert lease["holder"] == holder._holder


async def test_a_relay_that_lost_its_lease_cant_mark_what_it_published(bus: Bus) -> None:
    events, heir = bus.events(3), bus.relay(lease_seconds=60)

    async def lease_is_lost() -> None:
        await _expire_lease(bus)
        async with bus.engine.begin() as connection:
            assert await heir._hold_lease(connection)

    await bus.commit(*events)
    late = bus.relay(AfterPublish(bus.broker, lease_is_lost))
    await late.publish_once()
    assert await bus.waiting() == [event.id for event in events]
    assert await bus.published() == []
    assert await heir.publish_once() == 3
    assert await bus.published() == [event.id for event in events]
    assert_each_once(await bus.stored_ids(), events)


async def test_relays_side_by_side_publish_all_once_and_in_order(bus: Bus) -> None:
    relays = [bus.relay(batch_size=5) for _ in range(3)]
    events = bus.events(100, keys=3)
    async with running(*relays):
        for start in range(0, 100, 10):
            await bus.commit(*events[start : start + 10])

        async def gone() -> bool:
            return not await bus.waiting()

        await wait_until(gone, "the outbox is empty")
    assert await bus.stored_ids() == [event.id for event in events]


async def test_a_relay_that_polls_seldom_publishes_when_it_is_woken(bus: Bus) -> None:
    relay = bus.relay(poll_seconds=3600)
    async with running(relay):

        async def asleep() -> bool:
            return bool(await bus.rows(bus.tables.relay_lease))

        await wait_until(asleep, "the relay made its first pass")
        await bus.commit(bus.event("a"))

        async def gone() -> bool:
            relay.wake()
            return not await bus.waiting()

        await wait_until(gone, "the outbox is empty")


async def test_a_relay_that_is_never_woken_publishes_by_polling(bus: Bus) -> None:
    async with running(bus.relay()):
        await bus.commit(bus.event("a"))

        async def gone() -> bool:
            return not await bus.waiting()

        await wait_until(gone, "the outbox is empty")


async def test_stopping_publishes_what_is_committed_first(bus: Bus) -> None:
    events = bus.events(25)
    await bus.commit(*events)
    relay = bus.relay(batch_size=10)
    relay.stop()
    await relay.run()
    assert await bus.stored_ids() == [event.id for event in events]


async def test_a_relay_outlives_an_outage_of_its_database(bus: Bus) -> None:
    relay = bus.relay()
    async with running(relay):
        await bus.stack.kill("postgres")

        async def troubled() -> bool:
            return bool(relay.trouble)

        await wait_until(troubled, "the relay noticed")
        await bus.stack.start("postgres")
        events = bus.events(3)
        await bus.commit(*events)

        async def gone() -> bool:
            return not await bus.waiting()

        await wait_until(gone, "the outbox is empty")
    assert await bus.stored_ids() == [event.id for event in events]


async def _expire_lease(bus: Bus) -> None:
    past = func.now() - timedelta(seconds=1)
    await bus.execute(update(bus.tables.relay_lease).values(expires_at=past))
