"""Promises of the watermark: what was committed before `as_of` stands in the stream before it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from devstack.polling import wait_until
from eventbus import Event, Outbox
from tests.integration.bus import Bus
from tests.integration.faulty_broker import Unreachable
from tests.integration.worker_runner import running

ROW = {
    **dict.fromkeys(("id", "type", "key", "source", "traceparent"), "x"),
    "data": b"",
    "occurred_at": datetime(2026, 1, 2, tzinfo=UTC),
}


def maker(bus: Bus):  # noqa: ANN201  a watermark for the relay
    def watermark(as_of: datetime) -> Event:
        return bus.event(name="Watermark", data=as_of.isoformat().encode())

    return watermark


async def watermarks(bus: Bus) -> list[tuple[int, datetime]]:
    """Stream sequence and `as_of` of each."""
    return [
        (message.seq or 0, datetime.fromisoformat((message.data or b"").decode()))
        for message in await bus.stored()
        if (message.subject or "").endswith("Watermark")
    ]


async def database_clock(engine: AsyncEngine) -> datetime:
    async with engine.connect() as connection:
        clock = await connection.scalar(text("SELECT clock_timestamp()"))
    assert isinstance(clock, datetime)
    return clock


async def at_least(bus: Bus, count: int) -> list[tuple[int, datetime]]:
    async def enough() -> list[tuple[int, datetime]] | None:
        found = await watermarks(bus)
        return found if len(found) >= count else None

    return await wait_until(enough, f"{count} watermarks")


async def test_watermarks_come_also_when_nothing_happens_and_go_on_with_the_clock(
    bus: Bus,
) -> None:
    started = await database_clock(bus.engine)
    async with running(bus.relay(watermark=maker(bus), watermark_seconds=0.05)):
        found = await at_least(bus, 3)
    moments = [as_of for _, as_of in found]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)
    assert moments[0] > started


async def test_no_watermark_passes_an_event_that_is_not_published(bus: Bus) -> None:
    stuck = bus.event("a", name="Stuck")
    await bus.commit(stuck)
    [row] = await bus.rows(bus.tables.outbox)
    publisher = Unreachable(bus.broker, stuck.type)
    relay = bus.relay(publisher, maker(bus), watermark_seconds=0.0)
    async with bus.engine.begin() as connection:
        assert await relay._hold_lease(connection)
    for _ in range(3):
        await relay._publish_watermark()
    assert [as_of for _, as_of in await watermarks(bus)] == [row["recorded_at"]] * 3


async def test_no_watermark_passes_a_parked_event(bus: Bus) -> None:
    roomy = Outbox(bus.tables, max_data_bytes=2_000_000)
    await bus.commit(bus.event("bad", data=b"x" * 1_100_000), outbox=roomy)
    [row] = await bus.rows(bus.tables.outbox)
    async with running(bus.relay(watermark=maker(bus), watermark_seconds=0.02)):
        found = await at_least(bus, 2)
    assert {as_of for _, as_of in found} == {row["recorded_at"]}


async def test_a_relay_without_the_lease_sends_no_watermark(bus: Bus) -> None:
    holder = bus.relay(lease_seconds=60)
    await holder.publish_once()
    other = bus.relay(watermark=maker(bus), watermark_seconds=0.0)
    assert await other.publish_once() == 0
    await other._publish_watermark()
    assert await watermarks(bus) == []


async def test_what_was_committed_before_a_watermark_stands_before_it_in_the_stream(
    bus: Bus,
) -> None:
    """Under continuous commits, short and long, by several writers."""
    committed: list[tuple[str, datetime]] = []
    relay = bus.relay(watermark=maker(bus), watermark_seconds=0.0, poll_seconds=0.001)

    async def write(writer: int) -> None:
        for number in range(40):
            announced = bus.event(f"k{writer}")
            async with bus.engine.begin() as connection:
                await Outbox(bus.tables).publish(connection, [announced])
                if number % 4 == 0:
                    await connection.execute(text("SELECT pg_sleep(0.02)"))
            # Read after the commit: it was committed by then at the latest.
            committed.append((announced.id, await database_clock(bus.engine)))

    async with running(relay):
        await asyncio.gather(*(write(writer) for writer in range(4)))
    messages = await bus.stored()
    places = {(message.headers or {})["ce-id"]: message.seq or 0 for message in messages}
    marks = await watermarks(bus)
    assert len(marks) > 10
    for sequence, as_of in marks:
        late = [id_ for id_, moment in committed if moment < as_of and places[id_] > sequence]
        assert not late


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_what_is_committed_while_a_watermark_is_computed_is_not_passed(
    bus: Bus, number: int
) -> None:
    """Whichever of its statements was the last before the commit."""
    relay = bus.relay(watermark=maker(bus))
    await relay.publish_once()
    statements, committed_by = 0, []

    async def commit() -> None:
        await bus.execute(insert(bus.tables.outbox).values(**ROW))
        committed_by.append(await database_clock(bus.superuser))

    def after_statement(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == number:
            await_only(commit())

    event.listen(bus.engine.sync_engine, "after_cursor_execute", after_statement)
    as_of = await relay._feed_complete_until()
    assert as_of is not None
    assert all(as_of <= moment for moment in committed_by)
    assert committed_by or number > 3


async def test_a_watermark_says_utc_and_isnt_ahead_of_the_clock(bus: Bus) -> None:
    relay = bus.relay(watermark=maker(bus), watermark_seconds=0.0)
    await relay.publish_once()
    await relay._publish_watermark()
    [(_, as_of)] = await watermarks(bus)
    assert as_of.utcoffset() == timedelta(0)
    assert as_of.astimezone(UTC) <= await database_clock(bus.engine)
