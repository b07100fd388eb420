"""Lost and unhandled events are found and repaired, and no others."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from nats.js.api import StreamConfig
from sqlalchemy import delete, func, select, update

from eventbus import Consumer, Event, IncomingEvent, PermanentError
from eventbus.broker import BrokerUnavailable
from eventbus.reconciliation import BusReconciliation, Findings, matches_any
from tests.integration.drivers.bus import Bus, OpenBus, assert_each_once
from tests.integration.drivers.worker_runner import running

LOOKBACK = timedelta(minutes=10)


async def reconcile(
    bus: Bus, *consumers: Consumer, repair: bool = False, since: datetime | None = None
) -> Findings:
    reconciliation = BusReconciliation(
        bus.engine, bus.tables, bus.broker.stream_reader, consumers, bus.stream
    )
    return await reconciliation.run(since or datetime.now(UTC) - LOOKBACK, repair=repair)


async def published(bus: Bus, count: int) -> list[Event]:
    """Publishes new events by the outbox."""
    events = bus.events(count, keys=3)
    await bus.commit(*events)
    await bus.publish_all()
    return events


async def undo(bus: Bus, *events: Event) -> None:
    """Deletes marks and effects: the events are acknowledged and not handled."""
    ids = [event.id for event in events]
    await bus.execute(delete(bus.tables.inbox).where(bus.tables.inbox.c.event_id.in_(ids)))
    await bus.execute(delete(bus.effects).where(bus.effects.c.event_id.in_(ids)))


async def test_nothing_is_found_if_every_event_was_published_and_handled(bus: Bus) -> None:
    await published(bus, 120)
    consumer = bus.consumer()
    await bus.deliver_until_done(consumer)
    found = await reconcile(bus, consumer)
    assert found == Findings([], [], 120, 120)


async def test_lost_events_are_found_and_published_again_once(
    bus: Bus,
) -> None:
    events, consumer = await published(bus, 70), bus.consumer()
    await bus.deliver(consumer, 70)
    await bus.wait_all_answered()
    await bus.delete_messages(61)
    found = await reconcile(bus, consumer)
    assert [(lost.event_id, lost.key, lost.repaired) for lost in found.lost] == [
        (event.id, event.key, False) for event in events[60:]
    ]
    first = found.lost[0]
    assert (first.event_type, first.stream, first.consumer) == (events[0].type, bus.stream, "")
    assert await bus.unpublished() == []

    found = await reconcile(bus, consumer, repair=True)
    assert [(missing.event_id, missing.repaired) for missing in found.lost] == [
        (event.id, True) for event in events[60:]
    ]
    assert (await reconcile(bus, consumer)).lost == []  # a requeued event is not lost
    assert await bus.unpublished() == [event.id for event in events[60:]]
    await bus.publish_all()
    assert await reconcile(bus, consumer, repair=True) == Findings([], [], 70, 60)
    await bus.deliver_until_done(consumer)
    assert_each_once(await bus.effect_ids(), events)


async def test_all_events_of_a_purged_stream_are_lost(bus: Bus) -> None:
    events = await published(bus, 5)
    await bus.purge_stream()
    assert [missing.event_id for missing in (await reconcile(bus)).lost] == [
        event.id for event in events
    ]


async def test_an_event_older_than_the_age_limit_of_the_stream_is_not_lost(bus: Bus) -> None:
    await published(bus, 5)
    table = bus.tables.outbox_published
    old = update(table).values(recorded_at=func.now() - timedelta(hours=2))
    await bus.execute(old.where(table.c.position <= 3))
    await bus.purge_stream()
    found = await reconcile(bus)
    assert [missing.event_id for missing in found.lost] == (await bus.published())[3:]
    assert found.published_count == 2


async def test_a_stream_without_an_age_limit_must_have_every_event(bus: Bus) -> None:
    await published(bus, 1)
    js = (await bus.administrator()).jetstream()
    config: StreamConfig = (await js.stream_info(bus.stream)).config
    config.max_age = 0
    await js.update_stream(config)
    await js.purge_stream(bus.stream)
    assert len((await reconcile(bus)).lost) == 1


async def test_an_event_stored_long_before_it_was_marked_published_is_not_lost(bus: Bus) -> None:
    """A killed relay leaves the mark to its successor."""
    await published(bus, 3)
    late = func.now() + timedelta(hours=1)
    await bus.execute(update(bus.tables.outbox_published).values(published_at=late))
    found = await reconcile(bus, since=datetime.now(UTC) + timedelta(minutes=30))
    assert (found.lost, found.published_count) == ([], 3)


async def test_an_event_that_was_published_again_long_after_it_is_not_lost(
    new_bus: OpenBus,
) -> None:
    """Its row has the time of the first publication; the broker lost what was stored then."""
    bus = await new_bus(max_age_hours=24)
    await published(bus, 3)
    hours = func.make_interval(0, 0, 0, 0, 5)
    table = bus.tables.outbox_published
    times = {name: table.c[name] - hours for name in ("recorded_at", "published_at")}
    await bus.execute(update(table).values(times))
    found = await reconcile(bus, since=datetime.now(UTC) - timedelta(hours=6))
    assert (found.lost, found.published_count) == ([], 3)


async def test_every_event_of_a_long_time_is_compared(new_bus: OpenBus) -> None:
    """Of events that were published hours apart, each is compared once, and the lost ones found."""
    bus = await new_bus(max_age_hours=24)
    await published(bus, 4)
    table = bus.tables.outbox_published
    first = (await bus.rows(table))[0]["position"]
    for number in range(4):
        hours = func.make_interval(0, 0, 0, 0, 5 * number)
        row = update(table).where(table.c.position == first + number)
        times = {name: table.c[name] - hours for name in ("recorded_at", "published_at")}
        await bus.execute(row.values(times))
    since = datetime.now(UTC) - timedelta(hours=20)
    found = await reconcile(bus, since=since)
    assert (found.lost, found.published_count) == ([], 4)
    await bus.purge_stream()
    found = await reconcile(bus, since=since)
    assert [missing.event_id for missing in found.lost] == await bus.published()


async def test_of_events_that_are_hours_apart_none_is_lost(new_bus: OpenBus) -> None:
    """The stream is read from the oldest of them on, whichever is the newest."""
    bus = await new_bus(max_age_hours=24)
    await published(bus, 3)
    table = bus.tables.outbox_published
    hours = func.make_interval(0, 0, 0, 0, 5)
    for position, moved in ((1, table.c.recorded_at - hours), (3, table.c.recorded_at + hours)):
        first = select(func.min(table.c.position)).scalar_subquery()
        row = update(table).where(table.c.position == first + position - 1)
        await bus.execute(row.values(recorded_at=moved))
    found = await reconcile(bus)
    assert (found.lost, found.published_count) == ([], 3)


async def test_only_events_since_the_given_moment_are_compared(bus: Bus) -> None:
    await published(bus, 2)
    await bus.deliver_until_done(consumer := bus.consumer())
    since = await bus.clock()
    await published(bus, 3)
    await bus.deliver_until_done(consumer)
    assert await reconcile(bus, consumer, since=since) == Findings([], [], 3, 3)


async def test_acknowledged_messages_without_a_mark_are_found_and_handled_once(bus: Bus) -> None:
    events, consumer = await published(bus, 30), bus.consumer()
    await bus.deliver(consumer, 30)
    await bus.wait_all_answered()
    await undo(bus, *events[7:10])
    found = await reconcile(bus, consumer)
    assert [(missing.event_id, missing.key, missing.repaired) for missing in found.unhandled] == [
        (event.id, event.key, False) for event in events[7:10]
    ]
    first = found.unhandled[0]
    assert (first.event_type, first.stream, first.consumer) == (
        events[0].type,
        bus.stream,
        "listener",
    )
    found = await reconcile(bus, consumer, repair=True)
    assert [missing.repaired for missing in found.unhandled] == [True] * 3
    assert_each_once(await bus.effect_ids(), events)
    assert await reconcile(bus, consumer, repair=True) == Findings([], [], 30, 30)
    assert_each_once(await bus.effect_ids(), events)


async def test_a_message_that_is_not_acknowledged_is_not_unhandled(bus: Bus) -> None:
    await published(bus, 9)
    consumer = bus.consumer()
    await bus.deliver(consumer, 4)

    in_progress = await bus.fetch(1)
    await bus.deliver(consumer, 4)
    found = await reconcile(bus, consumer)
    assert (found.unhandled, found.message_count) == ([], 4)
    await consumer.handle(in_progress)
    await bus.wait_all_answered()
    assert (await reconcile(bus, consumer)).message_count == 9


async def test_messages_of_subjects_that_a_consumer_does_not_get_are_not_compared(bus: Bus) -> None:
    await bus.declare_consumer(bus.durable, filter_subjects=[f"{bus.domain}.v1.Happened.*"])
    await bus.send(bus.event("a"), bus.event("a", name="Other"), bus.event("b"))
    consumer = bus.consumer()
    await bus.deliver_until_done(consumer)
    found = await reconcile(bus, consumer)
    assert (found.unhandled, found.message_count) == ([], 2)


async def test_dead_letters_are_not_unhandled(bus: Bus) -> None:
    """Also those that are not events: the id of their mark is their position in the stream."""

    async def reject_bad(incoming: IncomingEvent) -> None:
        if incoming.event.key == "bad":
            raise PermanentError("no")

    consumer = bus.consumer(bus.handler(reject_bad))
    await bus.send(bus.event("bad"), bus.event("good"))
    await bus.send_raw(f"{bus.domain}.v1.Happened.x", b"{}", None)
    await bus.send_raw(f"{bus.domain}.nonsense", b"", {"ce-id": "two words"})
    await bus.send_raw(f"{bus.domain}.v1.Happened.y", b"\xff", {"ce-id": "undecodable"})
    await bus.deliver_until_done(consumer)
    assert len(await bus.dead_letters()) == 4
    assert await reconcile(bus, consumer) == Findings([], [], 0, 5)
    for row in await bus.dead_letters():
        await bus.discard(consumer, row["dead_letter_id"])
    assert await reconcile(bus, consumer, repair=True) == Findings([], [], 0, 5)


async def test_an_unhandled_event_that_fails_again_is_unrepaired_or_becomes_a_dead_letter(
    bus: Bus,
) -> None:
    events, consumer = await published(bus, 3), bus.consumer()
    await bus.deliver(consumer, 3)
    await bus.wait_all_answered()
    await undo(bus, *events)

    async def fail(incoming: IncomingEvent) -> None:
        if incoming.event.id == events[0].id:
            raise PermanentError("no")
        if incoming.event.id == events[1].id:
            raise RuntimeError("not now")

    found = await reconcile(bus, bus.consumer(bus.handler(fail)), repair=True)
    assert [missing.repaired for missing in found.unhandled] == [True, False, True]
    assert [row["event_id"] for row in await bus.dead_letters()] == [events[0].id]
    assert await bus.effect_ids() == [events[2].id]
    found = await reconcile(bus, consumer, repair=True)
    assert [(missing.event_id, missing.repaired) for missing in found.unhandled] == [
        (events[1].id, True)
    ]


async def test_events_in_transit_are_not_found(
    bus: Bus,
) -> None:
    """Relay, consumer and reconciliation run concurrently."""
    consumer, relay, events = bus.consumer(), bus.relay(batch_size=7), bus.events(300)
    async with running(relay, consumer):
        for start in range(0, 300, 20):
            await bus.commit(*events[start : start + 20])
            found = await reconcile(bus, consumer, repair=True)
            assert (found.lost, found.unhandled) == ([], [])
        while await bus.effect_count() < 300:
            found = await reconcile(bus, consumer, repair=True)
            assert (found.lost, found.unhandled) == ([], [])
    assert_each_once(await bus.effect_ids(), events)


async def test_concurrent_repairs_have_one_effect(bus: Bus) -> None:
    events, consumer = await published(bus, 50), bus.consumer()
    await bus.deliver(consumer, 50)
    await bus.wait_all_answered()
    await undo(bus, *events)
    await bus.delete_messages(41)
    await asyncio.gather(*(reconcile(bus, bus.consumer(), repair=True) for _ in range(3)))
    assert_each_once(await bus.effect_ids(), events[:40])
    await bus.publish_all()
    await bus.deliver_until_done(consumer)
    assert_each_once(await bus.effect_ids(), events)


async def test_without_the_broker_nothing_is_changed(bus: Bus) -> None:
    events = await published(bus, 3)
    consumer = bus.consumer()
    await bus.deliver(consumer, 3)
    await bus.wait_all_answered()
    await undo(bus, *events)
    await bus.stack.kill("nats")
    with pytest.raises(BrokerUnavailable):
        await reconcile(bus, consumer, repair=True)
    assert await bus.effect_ids() == []
    assert await bus.unpublished() == []


async def test_a_deleted_stream_is_an_unavailable_broker(bus: Bus) -> None:
    await published(bus, 3)
    await (await bus.administrator()).jetstream().delete_stream(bus.stream)
    with pytest.raises(BrokerUnavailable):
        await reconcile(bus)


@pytest.mark.parametrize(
    ("subject", "filters", "expected"),
    [
        ("a.b.c", [], True),
        ("a.b.c", [">"], True),
        ("a.b.c", ["a.>"], True),
        ("a.b.c", ["a.*.c"], True),
        ("a.b.c", ["x", "a.b.c"], True),
        ("a.b.c", ["a.b"], False),
        ("a.b", ["a.b.c"], False),
        ("a.b", ["a.b.>"], False),
        ("a.b", ["a.*.*"], False),
        ("a.b.c", ["*.b.x"], False),
    ],
)
def test_subjects_match_filters_as_in_nats(
    subject: str, filters: list[str], *, expected: bool
) -> None:
    assert matches_any(subject, filters) is expected


async def test_a_message_whose_mark_retention_may_have_deleted_is_not_compared(bus: Bus) -> None:
    """That it has no mark proves nothing."""
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver(bus.consumer(), 1)
    await bus.wait_all_answered()
    await bus.execute(delete(bus.tables.inbox))
    found = await reconcile(bus, bus.consumer(inbox_retention=timedelta(0)), repair=True)
    assert (found.unhandled, found.message_count) == ([], 0)
    assert await bus.effect_ids() == [event.id]
    found = await reconcile(bus, bus.consumer(inbox_retention=timedelta(hours=1)), repair=False)
    assert [missing.event_id for missing in found.unhandled] == [event.id]
