"""An event is published if and only if its transaction commits."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, update

from eventbus import EventTooLarge, Outbox
from eventbus.outbox import backlog
from tests.integration.drivers.bus import Bus


class RolledBack(Exception):
    """Rolls a transaction back."""


async def test_an_event_of_a_committed_transaction_is_published(bus: Bus) -> None:
    event = bus.event("a")
    await bus.commit(event)
    await bus.relay().publish_once()
    assert await bus.stored_ids() == [event.id]


async def test_an_event_of_a_rolled_back_transaction_is_never_published(bus: Bus) -> None:
    rolled_back, committed = bus.event("a"), bus.event("a")

    async def use_case() -> None:
        async with bus.engine.begin() as connection:
            await Outbox(bus.tables).publish(connection, [rolled_back])
            raise RolledBack

    with pytest.raises(RolledBack):
        await use_case()
    await bus.commit(committed)
    await bus.relay().publish_once()
    assert await bus.stored_ids() == [committed.id]


async def test_an_event_is_not_published_before_its_transaction_commits(bus: Bus) -> None:
    event, relay = bus.event("a"), bus.relay()
    async with bus.engine.begin() as connection:
        await Outbox(bus.tables).publish(connection, [event])
        assert await relay.publish_once() == 0
    assert await relay.publish_once() == 1


async def test_an_event_that_commits_after_later_ones_is_not_skipped(bus: Bus) -> None:
    """Transactions do not commit in the order of positions: a relay must not skip gaps for good."""
    early, late, relay = bus.event("early"), bus.event("late"), bus.relay()
    async with bus.engine.begin() as connection:
        await Outbox(bus.tables).publish(connection, [late])
        await bus.commit(early)
        await relay.publish_once()
    await relay.publish_once()
    assert await bus.stored_ids() == [early.id, late.id]


async def test_an_event_that_is_too_large_is_refused_inside_the_transaction(bus: Bus) -> None:
    """So that the transaction rolls back, and no other event of it is published."""
    fine, large = bus.event("a"), bus.event("a", data=b"x" * 101)

    async def use_case() -> None:
        async with bus.engine.begin() as connection:
            effect = {"event_id": fine.id, "key": "a", "version": 1}
            await connection.execute(insert(bus.effects), effect)
            await Outbox(bus.tables, max_data_bytes=100).publish(connection, [fine, large])

    with pytest.raises(EventTooLarge, match="101 bytes"):
        await use_case()
    assert await bus.unpublished() == []
    assert await bus.effect_ids() == []


async def test_the_broker_stores_an_event_of_the_largest_allowed_size(bus: Bus) -> None:
    large = bus.event("k" * 128, data=b"x" * 1_000_000, id="i" * 128)
    await bus.commit(large, bus.event("a"))
    assert await bus.relay().publish_once() == 2


async def test_a_published_message_has_the_headers_of_the_envelope(bus: Bus) -> None:
    event = bus.event("ord_1")
    await bus.commit(event)
    await bus.relay().publish_once()
    [message] = await bus.stored()
    headers = dict(message.headers)
    assert message.subject == f"{bus.domain}.v1.Happened.ord_1"
    assert message.data == event.data
    assert headers.pop("traceparent").startswith("00-")
    assert headers == {
        "Nats-Msg-Id": event.id,
        "ce-id": event.id,
        "ce-type": f"{bus.domain}.v1.Happened",
        "ce-source": "test",
        "ce-time": event.occurred_at.isoformat(),
        "ce-specversion": "1.0",
    }


async def test_an_event_without_a_trace_begins_one_and_a_given_trace_is_kept(bus: Bus) -> None:
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    await bus.commit(bus.event("a"), bus.event("a"), bus.event("a", traceparent=given))
    first, second, third = [row["traceparent"] for row in await bus.rows(bus.tables.outbox)]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", first)
    assert first[3:35] != second[3:35]
    assert third == given


async def test_the_backlog_has_the_count_and_age_of_unpublished_events(bus: Bus) -> None:
    async with bus.engine.connect() as connection:
        empty = await backlog(connection, bus.tables)
    await bus.commit(*bus.events(3))
    hour_ago = func.now() - timedelta(hours=1)
    await bus.execute(update(bus.tables.outbox).values(recorded_at=hour_ago))
    async with bus.engine.connect() as connection:
        full = await backlog(connection, bus.tables)
    assert (empty.count, empty.oldest_age_seconds, empty.parked) == (0, 0.0, 0)
    assert (full.count, full.parked) == (3, 0)
    assert full.oldest_age_seconds >= 3600
