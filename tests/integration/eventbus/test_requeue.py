"""Promises about a broker that lost what it had taken: it is published again, with one effect."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nats.js.api import StreamConfig
from sqlalchemy import event, text
from sqlalchemy.util import await_only

from eventbus import Event, Outbox, Relay
from eventbus.outbox import backlog
from eventbus.requeue import Republisher, RepublishTooOld
from eventbus.retention import Retention, RetentionSettings
from tests.integration.bus import Bus, OpenBus, assert_each_once
from tests.integration.faulty_broker import Recorder

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def publish_all(relay: Relay) -> None:
    while await relay.publish_once():
        pass


async def put_back(bus: Bus, since: datetime) -> int:
    async with bus.engine.begin() as connection:
        return await Republisher(bus.tables).since(connection, since)


async def delete_from_stream(bus: Bus, first: int) -> None:
    """The stream forgets all messages from a sequence on."""
    js = (await bus.administrator()).jetstream()
    last = (await js.stream_info(bus.stream)).state.last_seq
    for number in range(first, last + 1):
        await js.delete_msg(bus.stream, number)


async def remembered_ids(bus: Bus) -> list[str]:
    """Ids of what the stream still holds, in order."""
    reader = bus.broker.reader(bus.stream)
    bounds = await reader.bounds()
    found = reader.read(bounds.first, bounds.last)
    return [stored.message.headers["ce-id"] async for stored in found]


async def test_a_stream_that_lost_its_tail_gets_it_again_and_each_event_has_one_effect(
    bus: Bus,
) -> None:
    """Whether a listener had taken an event before it was lost or not."""
    events, relay, consumer = bus.events(40, keys=3), bus.relay(), bus.consumer()
    await bus.commit(*events)
    await publish_all(relay)
    await bus.deliver(consumer, 25)
    await delete_from_stream(bus, 11)
    assert await remembered_ids(bus) == [event.id for event in events[:10]]
    assert await put_back(bus, datetime.now(UTC) - timedelta(minutes=1)) == 40
    await publish_all(relay)
    assert set(await remembered_ids(bus)) == {event.id for event in events}
    await bus.deliver_until_done(consumer)
    assert_each_once(await bus.effect_ids(), events)


async def test_a_purged_stream_is_filled_again_in_the_old_order(bus: Bus) -> None:
    events, relay = bus.events(30), bus.relay(batch_size=8)
    await bus.commit(*events)
    await publish_all(relay)
    await (await bus.administrator()).jetstream().purge_stream(bus.stream)
    later = bus.events(5)
    await put_back(bus, datetime.now(UTC) - timedelta(minutes=1))
    await bus.commit(*later)
    await publish_all(relay)
    assert await remembered_ids(bus) == [event.id for event in [*events, *later]]


async def test_only_what_was_published_since_is_published_again(bus: Bus) -> None:
    before, after = bus.event("a"), bus.event("a")
    relay, recorder = bus.relay(), Recorder(bus.broker)
    await bus.commit(before)
    await publish_all(relay)
    since = await bus.clock()
    await bus.commit(after)
    await publish_all(relay)
    assert await put_back(bus, since) == 1
    assert await bus.waiting() == [after.id]
    relay._publisher = recorder
    await publish_all(relay)
    assert recorder.singles == [after.id]


async def test_events_put_back_leave_no_second_row_and_keep_their_time(bus: Bus) -> None:
    """Their marks must outlive them: publishing again must not begin their time anew."""
    await bus.commit(*bus.events(6))
    relay, since = bus.relay(), datetime.now(UTC) - timedelta(minutes=1)
    await publish_all(relay)
    before = await bus.rows(bus.tables.outbox_published)
    for _ in range(3):
        await put_back(bus, since)
        await publish_all(relay)
    assert await bus.rows(bus.tables.outbox_published) == before
    assert await bus.waiting() == []


async def test_what_waits_already_is_not_put_back_twice(bus: Bus) -> None:
    events, since = bus.events(4), datetime.now(UTC) - timedelta(minutes=1)
    await bus.commit(*events)
    await publish_all(bus.relay())
    assert await put_back(bus, since) == 4
    assert await put_back(bus, since) == 0
    assert await bus.waiting() == [event.id for event in events]
    assert await bus.published() == [event.id for event in events]


async def test_new_events_get_rows_of_their_own_while_old_ones_are_published_again(
    bus: Bus,
) -> None:
    old, new = bus.events(3), bus.events(3)
    await bus.commit(*old)
    relay = bus.relay()
    await publish_all(relay)
    await put_back(bus, datetime.now(UTC) - timedelta(minutes=1))
    await bus.commit(*new)
    await publish_all(relay)
    assert await bus.published() == [event.id for event in [*old, *new]]


async def test_a_transaction_that_rolls_back_puts_nothing_back(bus: Bus) -> None:
    await bus.commit(*bus.events(2))
    await publish_all(bus.relay())
    async with bus.engine.connect() as connection:
        since = datetime(2026, 1, 1, tzinfo=UTC)
        assert await Republisher(bus.tables).since(connection, since) == 2
        await connection.rollback()
    assert await bus.waiting() == []


async def days_passed(bus: Bus, days: int) -> None:
    """Makes what was published older, and lets retention have its way."""
    older = text(
        f"UPDATE {bus.tables.outbox_published}"  # noqa: S608  our own name
        " SET published_at = published_at - make_interval(days => :days)"
    )
    async with bus.superuser.begin() as connection:
        await connection.execute(older, {"days": days})
    await Retention(bus.engine, bus.tables, RetentionSettings(published_days=7)).sweep()


async def test_a_service_that_never_published_has_nothing_to_publish_again(bus: Bus) -> None:
    """However long ago: nothing was dropped, so nothing is left out."""
    assert await put_back(bus, LONG_AGO) == 0
    await days_passed(bus, 0)
    assert await put_back(bus, LONG_AGO) == 0


async def test_a_first_event_that_was_never_committed_was_not_dropped(bus: Bus) -> None:
    """Its position is gone, and so is nothing else."""
    async with bus.engine.connect() as connection:
        await Outbox(bus.tables).publish(connection, bus.events(1))
        await connection.rollback()
    await bus.commit(*bus.events(2))
    await publish_all(bus.relay())
    rows = await bus.rows(bus.tables.outbox_published)
    assert [row["position"] for row in rows] == [2, 3]
    assert await put_back(bus, LONG_AGO) == 2


async def test_what_was_dropped_cant_be_published_again(bus: Bus) -> None:
    """An answer that leaves a part out unsaid would be worse than none."""
    relay = bus.relay()
    await bus.commit(*bus.events(2))
    await publish_all(relay)
    today = (await bus.clock()).replace(hour=0, minute=0, second=0, microsecond=0)
    await days_passed(bus, 7)
    assert await put_back(bus, LONG_AGO) == 2  # nothing was dropped yet
    await publish_all(relay)
    await days_passed(bus, 2)
    assert await bus.published() == []
    kept_from = today - timedelta(days=8)
    for _ in range(2):  # it stays dropped
        with pytest.raises(RepublishTooOld, match=f"{kept_from:%Y-%m-%d}T00:00Z"):
            await put_back(bus, kept_from - timedelta(seconds=1))
        await bus.commit(*bus.events(3))
        await publish_all(relay)
        await days_passed(bus, 0)
    assert await put_back(bus, kept_from) == 6


async def test_what_is_dropped_in_that_moment_is_missed(bus: Bus) -> None:
    """Retention comes between any two statements: the answer is all of it or a refusal."""
    await bus.commit(*bus.events(2))
    await publish_all(bus.relay())
    dropped = []

    def before_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "OVERRIDING" in statement and not dropped:
            dropped.append(statement)
            await_only(days_passed(bus, 9))

    event.listen(bus.engine.sync_engine, "before_cursor_execute", before_statement)
    with pytest.raises(RepublishTooOld):
        await put_back(bus, LONG_AGO)
    assert dropped
    assert await bus.waiting() == []


async def test_an_event_that_was_deleted_is_stored_again_though_the_broker_knows_its_id(
    bus: Bus,
) -> None:
    event = bus.event("a")
    await bus.send(event)
    await delete_from_stream(bus, 1)
    await bus.send(event)
    assert await remembered_ids(bus) == [event.id]
    await bus.send(event)
    assert await remembered_ids(bus) == [event.id]


async def test_no_watermark_passes_an_event_that_is_to_be_published_again(bus: Bus) -> None:
    """The broker may have lost it: nobody can say that the feed is complete since then."""
    first, second = bus.event("a"), bus.event("a")
    relay = bus.relay()
    await bus.commit(first)
    await publish_all(relay)
    since = await bus.clock()
    await bus.commit(second)
    await publish_all(relay)
    rows = await bus.rows(bus.tables.outbox_published)
    await put_back(bus, since)
    assert await relay._feed_complete_until() == rows[1]["recorded_at"]
    async with bus.engine.connect() as connection:
        assert (await backlog(connection, bus.tables)).count == 1
    await publish_all(relay)
    complete = await relay._feed_complete_until()
    assert complete is not None
    assert complete > rows[1]["published_at"]


async def test_a_reader_finds_messages_by_time_place_and_subject(new_bus: OpenBus) -> None:
    bus = await new_bus()
    reader = bus.broker.reader(bus.stream)
    assert await reader.first_since(datetime(2026, 1, 1, tzinfo=UTC)) == 0
    events: list[Event] = bus.events(130, keys=2)
    await bus.send(*events[:60])
    middle = (await bus.stored())[-1].time
    assert middle is not None
    await bus.send(*events[60:])
    js = (await bus.administrator()).jetstream()
    await js.delete_msg(bus.stream, 60)
    await js.delete_msg(bus.stream, 100)
    assert await reader.first_since(datetime(2026, 1, 1, tzinfo=UTC)) == 1
    assert await reader.first_since(middle) == 61
    assert await reader.first_since(datetime.now(UTC) + timedelta(hours=1)) == 0
    bounds = await reader.bounds()
    assert (bounds.first, bounds.last, bounds.max_age_seconds) == (1, 130, 3600)
    read = [stored.message async for stored in reader.read(58, 103)]
    left = [58, 59, *range(61, 100), 101, 102, 103]
    assert [message.stream_sequence for message in read] == left
    assert read[0].headers == events[57].headers()
    assert (read[0].subject, read[0].data) == (events[57].subject, events[57].data)
    found = [stored.message async for stored in reader.search(f"{bus.domain}.v1.*.k1")]
    assert [message.headers["ce-id"] for message in found] == [
        event.id
        for place, event in enumerate(events, 1)
        if place % 2 == 0 and place not in {60, 100}
    ]


async def test_events_of_a_stream_with_other_limits_are_read_too(new_bus: OpenBus) -> None:
    """Bodies and headers come as they were delivered, whatever they hold."""
    bus = await new_bus()
    js = (await bus.administrator()).jetstream()
    config: StreamConfig = (await js.stream_info(bus.stream)).config
    config.max_age = 0
    await js.update_stream(config)
    await bus.send_raw(f"{bus.domain}.v1.Happened.a", b"\x00\xff", None)
    await bus.send_raw(f"{bus.domain}.v1.Happened.b", b"", {"Status": "1", "x": "ü"})
    reader = bus.broker.reader(bus.stream)
    delivered = await bus.fetch(2)
    read = [stored.message async for stored in reader.read(1, 2)]
    assert [(m.subject, m.data, m.headers) for m in read] == [
        (m.subject, m.data, m.headers) for m in delivered
    ]
    assert (await reader.bounds()).max_age_seconds == 0
