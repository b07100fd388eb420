"""Promises of the check: what is lost or unhandled is found and mended, and nothing else is."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from nats.js.api import StreamConfig
from sqlalchemy import delete, func, update

from eventbus import Consumer, Event, IncomingEvent, PermanentError
from eventbus.broker import BrokerUnavailable
from eventbus.reconciliation import BusReconciliation, Findings, is_among
from tests.integration.bus import Bus, assert_each_once
from tests.integration.eventbus.test_requeue import delete_from_stream, publish_all
from tests.integration.worker_runner import running

LONG = timedelta(minutes=10)


async def check(
    bus: Bus, *consumers: Consumer, repair: bool = False, since: datetime | None = None
) -> Findings:
    checking = BusReconciliation(bus.engine, bus.tables, bus.broker.reader, consumers, bus.stream)
    return await checking.run(since or datetime.now(UTC) - LONG, repair=repair)


async def published(bus: Bus, count: int) -> list[Event]:
    """Events that went through the outbox."""
    events = bus.events(count, keys=3)
    await bus.commit(*events)
    await publish_all(bus.relay(lease_seconds=0.001))
    return events


async def forget(bus: Bus, *events: Event) -> None:
    """As if the consumer had acknowledged them without handling them."""
    ids = [event.id for event in events]
    await bus.execute(delete(bus.tables.inbox).where(bus.tables.inbox.c.event_id.in_(ids)))
    await bus.execute(delete(bus.effects).where(bus.effects.c.event_id.in_(ids)))


async def test_a_bus_in_order_has_nothing_to_mend(bus: Bus) -> None:
    await published(bus, 120)
    consumer = bus.consumer()
    await bus.deliver_until_done(consumer)
    found = await check(bus, consumer)
    assert found == Findings([], [], 120, 120)


async def test_lost_events_are_found_and_published_again_and_a_second_run_finds_nothing(
    bus: Bus,
) -> None:
    events, consumer = await published(bus, 70), bus.consumer()
    await bus.deliver(consumer, 70)
    await bus.all_answered()
    await delete_from_stream(bus, 61)
    found = await check(bus, consumer)
    assert [(one.event_id, one.key, one.repaired) for one in found.lost] == [
        (event.id, event.key, False) for event in events[60:]
    ]
    first = found.lost[0]
    assert (first.event_type, first.stream, first.consumer) == (events[0].type, bus.stream, "")
    assert await bus.waiting() == []

    found = await check(bus, consumer, repair=True)
    assert [(one.event_id, one.repaired) for one in found.lost] == [
        (event.id, True) for event in events[60:]
    ]
    assert (await check(bus, consumer)).lost == []  # on their way is not lost
    assert await bus.waiting() == [event.id for event in events[60:]]
    await publish_all(bus.relay(lease_seconds=0.001))
    assert await check(bus, consumer, repair=True) == Findings([], [], 70, 60)
    await bus.deliver_until_done(consumer)
    assert_each_once(await bus.effect_ids(), events)


async def test_a_purged_stream_has_lost_all(bus: Bus) -> None:
    events = await published(bus, 5)
    await (await bus.administrator()).jetstream().purge_stream(bus.stream)
    assert [one.event_id for one in (await check(bus)).lost] == [event.id for event in events]


async def test_what_the_stream_dropped_by_age_is_not_lost(bus: Bus) -> None:
    await published(bus, 5)
    table = bus.tables.outbox_published
    old = update(table).values(recorded_at=func.now() - timedelta(hours=2))
    await bus.execute(old.where(table.c.position <= 3))
    await (await bus.administrator()).jetstream().purge_stream(bus.stream)
    found = await check(bus)
    assert [one.event_id for one in found.lost] == (await bus.published())[3:]
    assert found.published_count == 2


async def test_a_stream_that_keeps_everything_has_no_age(bus: Bus) -> None:
    await published(bus, 1)
    js = (await bus.administrator()).jetstream()
    config: StreamConfig = (await js.stream_info(bus.stream)).config
    config.max_age = 0
    await js.update_stream(config)
    await js.purge_stream(bus.stream)
    assert len((await check(bus)).lost) == 1


async def test_a_message_stored_long_before_it_was_marked_is_not_lost(bus: Bus) -> None:
    """A relay that was killed in between leaves the mark to its heir."""
    await published(bus, 3)
    late = func.now() + timedelta(hours=1)
    await bus.execute(update(bus.tables.outbox_published).values(published_at=late))
    found = await check(bus, since=datetime.now(UTC) + timedelta(minutes=30))
    assert (found.lost, found.published_count) == ([], 3)


async def test_only_what_is_not_older_than_asked_is_compared(bus: Bus) -> None:
    await published(bus, 2)
    await bus.deliver_until_done(consumer := bus.consumer())
    since = await bus.clock()
    await published(bus, 3)
    await bus.deliver_until_done(consumer)
    assert await check(bus, consumer, since=since) == Findings([], [], 3, 3)


async def test_acknowledged_messages_without_a_mark_are_found_and_handled_once(bus: Bus) -> None:
    events, consumer = await published(bus, 30), bus.consumer()
    await bus.deliver(consumer, 30)
    await bus.all_answered()
    await forget(bus, *events[7:10])
    found = await check(bus, consumer)
    assert [(one.event_id, one.key, one.repaired) for one in found.unhandled] == [
        (event.id, event.key, False) for event in events[7:10]
    ]
    first = found.unhandled[0]
    assert (first.event_type, first.stream, first.consumer) == (
        events[0].type,
        bus.stream,
        "listener",
    )
    found = await check(bus, consumer, repair=True)
    assert [one.repaired for one in found.unhandled] == [True] * 3
    assert_each_once(await bus.effect_ids(), events)
    assert await check(bus, consumer, repair=True) == Findings([], [], 30, 30)
    assert_each_once(await bus.effect_ids(), events)


async def test_what_is_not_acknowledged_yet_is_not_unhandled(bus: Bus) -> None:
    await published(bus, 9)
    consumer = bus.consumer()
    await bus.deliver(consumer, 4)

    held = await bus.fetch(1)
    await bus.deliver(consumer, 4)
    found = await check(bus, consumer)
    assert (found.unhandled, found.message_count) == ([], 4)
    await consumer.handle(held)
    await bus.all_answered()
    assert (await check(bus, consumer)).message_count == 9


async def test_messages_of_other_subjects_are_no_business_of_a_consumers(bus: Bus) -> None:
    js = (await bus.administrator()).jetstream()
    info = await js.consumer_info(bus.stream, bus.durable)
    config = info.config
    config.filter_subjects = [f"{bus.domain}.v1.Happened.*"]
    await js.add_consumer(bus.stream, config)
    await bus.send(bus.event("a"), bus.event("a", name="Other"), bus.event("b"))
    consumer = bus.consumer()
    await bus.deliver_until_done(consumer)
    found = await check(bus, consumer)
    assert (found.unhandled, found.message_count) == ([], 2)


async def test_dead_letters_are_handled_as_far_as_that_goes(bus: Bus) -> None:
    """Also those that name no event: their mark is their place in the stream."""

    async def never(received: IncomingEvent) -> None:
        if received.event.key == "bad":
            raise PermanentError("no")

    consumer = bus.consumer(bus.handler(never))
    await bus.send(bus.event("bad"), bus.event("good"))
    await bus.send_raw(f"{bus.domain}.v1.Happened.x", b"{}", None)
    await bus.send_raw(f"{bus.domain}.nonsense", b"", {"ce-id": "two words"})
    await bus.send_raw(f"{bus.domain}.v1.Happened.y", b"\xff", {"ce-id": "undecodable"})
    await bus.deliver_until_done(consumer)
    assert len(await bus.dead_letters()) == 4
    assert await check(bus, consumer) == Findings([], [], 0, 5)
    for letter in await bus.dead_letters():
        await bus.discard(consumer, letter["dead_letter_id"])
    assert await check(bus, consumer, repair=True) == Findings([], [], 0, 5)


async def test_what_cant_be_handled_now_either_stays_unrepaired_or_becomes_a_dead_letter(
    bus: Bus,
) -> None:
    events, consumer = await published(bus, 3), bus.consumer()
    await bus.deliver(consumer, 3)
    await bus.all_answered()
    await forget(bus, *events)

    async def fails(received: IncomingEvent) -> None:
        if received.event.id == events[0].id:
            raise PermanentError("no")
        if received.event.id == events[1].id:
            raise RuntimeError("not now")

    found = await check(bus, bus.consumer(bus.handler(fails)), repair=True)
    assert [one.repaired for one in found.unhandled] == [True, False, True]
    assert [letter["event_id"] for letter in await bus.dead_letters()] == [events[0].id]
    assert await bus.effect_ids() == [events[2].id]
    found = await check(bus, consumer, repair=True)
    assert [(one.event_id, one.repaired) for one in found.unhandled] == [(events[1].id, True)]


async def test_checks_side_by_side_with_everything_else_find_nothing_and_do_nothing_twice(
    bus: Bus,
) -> None:
    """What is just on its way is neither lost nor unhandled."""
    consumer, relay, events = bus.consumer(), bus.relay(batch_size=7), bus.events(300)
    async with running(relay, consumer):
        for start in range(0, 300, 20):
            await bus.commit(*events[start : start + 20])
            found = await check(bus, consumer, repair=True)
            assert (found.lost, found.unhandled) == ([], [])
        while await bus.effect_count() < 300:
            found = await check(bus, consumer, repair=True)
            assert (found.lost, found.unhandled) == ([], [])
    assert_each_once(await bus.effect_ids(), events)


async def test_two_repairs_at_once_have_one_effect(bus: Bus) -> None:
    events, consumer = await published(bus, 50), bus.consumer()
    await bus.deliver(consumer, 50)
    await bus.all_answered()
    await forget(bus, *events)
    await delete_from_stream(bus, 41)
    await asyncio.gather(*(check(bus, bus.consumer(), repair=True) for _ in range(3)))
    assert_each_once(await bus.effect_ids(), events[:40])
    await publish_all(bus.relay(lease_seconds=0.001))
    await bus.deliver_until_done(consumer)
    assert_each_once(await bus.effect_ids(), events)


async def test_without_the_broker_nothing_is_told_and_nothing_changed(bus: Bus) -> None:
    events = await published(bus, 3)
    consumer = bus.consumer()
    await bus.deliver(consumer, 3)
    await bus.all_answered()
    await forget(bus, *events)
    await bus.stack.kill("nats")
    with pytest.raises(BrokerUnavailable):
        await check(bus, consumer, repair=True)
    assert await bus.effect_ids() == []
    assert await bus.waiting() == []


async def test_a_stream_that_was_deleted_is_told_as_an_unavailable_broker(bus: Bus) -> None:
    await published(bus, 3)
    await (await bus.administrator()).jetstream().delete_stream(bus.stream)
    with pytest.raises(BrokerUnavailable):
        await check(bus)


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
def test_subjects_match_as_the_broker_matches_them(
    subject: str, filters: list[str], *, expected: bool
) -> None:
    assert is_among(subject, filters) is expected
