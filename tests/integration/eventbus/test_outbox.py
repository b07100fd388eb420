"""Promises of the outbox: an event is announced if and only if its transaction commits."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, update

from eventbus import EventTooLarge, Outbox
from eventbus.outbox import backlog
from tests.integration.bus import Bus


class Undone(Exception):
    """The caller changed its mind."""


async def test_an_event_of_a_committed_transaction_is_announced(bus: Bus) -> None:
    event = bus.event("a")
    await bus.commit(event)
    await bus.relay().publish_once()
    assert await bus.stored_ids() == [event.id]


async def test_an_event_of_a_transaction_that_rolls_back_is_never_announced(bus: Bus) -> None:
    undone, kept = bus.event("a"), bus.event("a")

    async def change_of_mind() -> None:
        async with bus.engine.begin() as connection:
            await Outbox(bus.tables).publish(connection, [undone])
            raise Undone

    with pytest.raises(Undone):
        await change_of_mind()
    await bus.commit(kept)
    await bus.relay().publish_once()
    assert await bus.stored_ids() == [kept.id]


async def test_an_event_isnt_announced_before_its_transaction_commits(bus: Bus) -> None:
    event, relay = bus.event("a"), bus.relay()
    async with bus.engine.begin() as connection:
        await Outbox(bus.tables).publish(connection, [event])
        assert await relay.publish_once() == 0
    assert await relay.publish_once() == 1


async def test_an_event_that_commits_late_isnt_passed_over(bus: Bus) -> None:
    """Commit order isn't position order: a relay that only looks ahead would lose it."""
    early, late, relay = bus.event("early"), bus.event("late"), bus.relay()
    async with bus.engine.begin() as connection:
        await Outbox(bus.tables).publish(connection, [late])
        await bus.commit(early)
        await relay.publish_once()
    await relay.publish_once()
    assert await bus.stored_ids() == [early.id, late.id]


async def test_an_oversized_event_is_refused_inside_the_transaction(bus: Bus) -> None:
    """So that its effect can be undone, and none of the events beside it is announced."""
    fine, large = bus.event("a"), bus.event("a", data=b"x" * 101)

    async def use_case() -> None:
        async with bus.engine.begin() as connection:
            effect = {"event_id": fine.id, "key": "a", "version": 1}
            await connection.execute(insert(bus.effects), effect)
            await Outbox(bus.tables, max_data_bytes=100).publish(connection, [fine, large])

    with pytest.raises(EventTooLarge, match="101 bytes"):
        await use_case()
    assert await bus.waiting() == []
    assert await bus.effect_ids() == []


async def test_the_largest_allowed_event_is_taken_by_the_broker(bus: Bus) -> None:
    large = bus.event("k" * 128, data=b"x" * 1_000_000, id="i" * 128)
    await bus.commit(large, bus.event("a"))
    assert await bus.relay().publish_once() == 2


async def test_an_event_travels_with_its_envelope(bus: Bus) -> None:
    event = bus.event("ord_1")
    await bus.commit(event)
    await bus.relay().publish_once()
    [message] = await bus.stored()
    headers = dict(message.headers or {})
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


async def test_an_event_without_a_trace_begins_one_and_keeps_one_it_has(bus: Bus) -> None:
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    await bus.commit(bus.event("a"), bus.event("a"), bus.event("a", traceparent=given))
    first, second, third = [row["traceparent"] for row in await bus.rows(bus.tables.outbox)]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", first)
    assert first[3:35] != second[3:35]
    assert third == given


async def test_the_backlog_counts_what_waits_and_how_long(bus: Bus) -> None:
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
