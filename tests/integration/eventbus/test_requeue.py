"""Events that the broker lost are published again, with one effect."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only

from eventbus import Outbox
from eventbus.outbox import backlog
from eventbus.requeue import Republisher, RepublishTooOld
from eventbus.watermark import WatermarkPublisher
from tests.fakes.broker import RecordingPublisher
from tests.integration.drivers.bus import Bus, assert_each_once

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def test_events_that_a_stream_lost_are_published_again_with_one_effect(
    bus: Bus,
) -> None:
    """Whether a consumer had handled an event before it was lost or not."""
    events, relay, consumer = bus.events(40, keys=3), bus.relay(), bus.consumer()
    await bus.commit(*events)
    await bus.publish_all(relay)
    await bus.deliver(consumer, 25)
    await bus.delete_messages(11)
    assert await bus.stored_ids() == [event.id for event in events[:10]]
    assert await bus.requeue_since(datetime.now(UTC) - timedelta(minutes=1)) == 40
    await bus.publish_all(relay)
    assert set(await bus.stored_ids()) == {event.id for event in events}
    await bus.deliver_until_done(consumer)
    assert_each_once(await bus.effect_ids(), events)


async def test_a_purged_stream_gets_its_events_again_in_the_original_order(bus: Bus) -> None:
    events, relay = bus.events(30), bus.relay(batch_size=8)
    await bus.commit(*events)
    await bus.publish_all(relay)
    await bus.purge_stream()
    later = bus.events(5)
    await bus.requeue_since(datetime.now(UTC) - timedelta(minutes=1))
    await bus.commit(*later)
    await bus.publish_all(relay)
    assert await bus.stored_ids() == [event.id for event in [*events, *later]]


async def test_only_events_published_since_the_moment_are_published_again(bus: Bus) -> None:
    before, after = bus.event("a"), bus.event("a")
    relay, recorder = bus.relay(lease_seconds=0.001), RecordingPublisher(bus.broker)
    await bus.commit(before)
    await bus.publish_all(relay)
    since = await bus.clock()
    await bus.commit(after)
    await bus.publish_all(relay)
    assert await bus.requeue_since(since) == 1
    assert await bus.unpublished() == [after.id]
    await bus.publish_all(bus.relay(recorder, lease_seconds=0.001))
    assert recorder.singles == [after.id]


async def test_requeued_events_get_no_second_row_and_keep_their_publication_time(bus: Bus) -> None:
    """Retention must drop them before their inbox marks."""
    await bus.commit(*bus.events(6))
    relay, since = bus.relay(), datetime.now(UTC) - timedelta(minutes=1)
    await bus.publish_all(relay)
    before = await bus.rows(bus.tables.outbox_published)
    for _ in range(3):
        await bus.requeue_since(since)
        await bus.publish_all(relay)
    assert await bus.rows(bus.tables.outbox_published) == before
    assert await bus.unpublished() == []


async def test_an_event_that_is_in_the_outbox_is_not_requeued_again(bus: Bus) -> None:
    events, since = bus.events(4), datetime.now(UTC) - timedelta(minutes=1)
    await bus.commit(*events)
    await bus.publish_all(bus.relay())
    assert await bus.requeue_since(since) == 4
    assert await bus.requeue_since(since) == 0
    assert await bus.unpublished() == [event.id for event in events]
    assert await bus.published() == [event.id for event in events]


async def test_new_events_are_recorded_while_requeued_ones_are_published(
    bus: Bus,
) -> None:
    old, new = bus.events(3), bus.events(3)
    await bus.commit(*old)
    relay = bus.relay()
    await bus.publish_all(relay)
    await bus.requeue_since(datetime.now(UTC) - timedelta(minutes=1))
    await bus.commit(*new)
    await bus.publish_all(relay)
    assert await bus.published() == [event.id for event in [*old, *new]]


async def test_a_rolled_back_transaction_requeues_nothing(bus: Bus) -> None:
    await bus.commit(*bus.events(2))
    await bus.publish_all(bus.relay())
    async with bus.engine.connect() as connection:
        since = datetime(2026, 1, 1, tzinfo=UTC)
        assert await Republisher(bus.tables).requeue_since(connection, since) == 2
        await connection.rollback()
    assert await bus.unpublished() == []


async def test_a_service_without_published_events_requeues_nothing(bus: Bus) -> None:
    """It is not too old, however long ago: retention has dropped nothing."""
    assert await bus.requeue_since(LONG_AGO) == 0
    await bus.let_days_pass(0)
    assert await bus.requeue_since(LONG_AGO) == 0


async def test_a_gap_in_the_positions_does_not_count_as_dropped(bus: Bus) -> None:
    """A rolled back transaction leaves one."""
    async with bus.engine.connect() as connection:
        await Outbox(bus.tables).publish(connection, bus.events(1))
        await connection.rollback()
    await bus.commit(*bus.events(2))
    await bus.publish_all(bus.relay())
    rows = await bus.rows(bus.tables.outbox_published)
    assert [row["position"] for row in rows] == [2, 3]
    assert await bus.requeue_since(LONG_AGO) == 2


async def test_requeuing_events_that_retention_dropped_is_refused(bus: Bus) -> None:
    """The alternative would be to leave out a part silently."""
    relay = bus.relay()
    await bus.commit(*bus.events(2))
    await bus.publish_all(relay)
    today = (await bus.clock()).replace(hour=0, minute=0, second=0, microsecond=0)
    await bus.let_days_pass(7)
    assert await bus.requeue_since(LONG_AGO) == 2  # retention has dropped nothing yet
    await bus.publish_all(relay)
    await bus.let_days_pass(2)
    assert await bus.published() == []
    kept_from = today - timedelta(days=8)
    for _ in range(2):  # also later
        with pytest.raises(RepublishTooOld, match=f"{kept_from:%Y-%m-%d}T00:00Z"):
            await bus.requeue_since(kept_from - timedelta(seconds=1))
        await bus.commit(*bus.events(3))
        await bus.publish_all(relay)
        await bus.let_days_pass(0)
    assert await bus.requeue_since(kept_from) == 6


async def test_requeuing_is_refused_if_retention_drops_events_meanwhile(bus: Bus) -> None:
    """Retention runs just before the rows are copied."""
    await bus.commit(*bus.events(2))
    await bus.publish_all(bus.relay())
    dropped = []

    def before_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "OVERRIDING" in statement and not dropped:
            dropped.append(statement)
            await_only(bus.let_days_pass(9))

    event.listen(bus.engine.sync_engine, "before_cursor_execute", before_statement)
    with pytest.raises(RepublishTooOld):
        await bus.requeue_since(LONG_AGO)
    assert dropped
    assert await bus.unpublished() == []


async def test_no_watermark_is_later_than_a_requeued_event(bus: Bus) -> None:
    """The broker may have lost it: the stream may be incomplete since then."""
    first, second = bus.event("a"), bus.event("a")
    relay = bus.relay()
    watermarks = WatermarkPublisher(
        bus.engine, bus.tables, relay._lease, bus.broker, lambda _: bus.event(), 0.0
    )
    await bus.commit(first)
    await bus.publish_all(relay)
    since = await bus.clock()
    await bus.commit(second)
    await bus.publish_all(relay)
    rows = await bus.rows(bus.tables.outbox_published)
    await bus.requeue_since(since)
    assert await watermarks.complete_until() == rows[1]["recorded_at"]
    async with bus.engine.connect() as connection:
        assert (await backlog(connection, bus.tables)).count == 1
    await bus.publish_all(relay)
    complete_until = await watermarks.complete_until()
    assert complete_until is not None
    assert complete_until > rows[1]["published_at"]
