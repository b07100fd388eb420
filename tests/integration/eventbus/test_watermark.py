"""An event that was committed before a watermark's moment precedes the watermark in the stream."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.util import await_only

from devstack.polling import wait_until
from eventbus import Event, Outbox
from eventbus.lease import RelayLease
from eventbus.watermark import BuildWatermark, WatermarkPublisher
from tests.fakes.broker import RefusingPublisher
from tests.integration.drivers.bus import Bus
from tests.integration.drivers.worker_runner import running

ROW = {
    **dict.fromkeys(("id", "type", "key", "source", "traceparent"), "x"),
    "data": b"",
    "occurred_at": datetime(2026, 1, 2, tzinfo=UTC),
}


def builder(bus: Bus) -> BuildWatermark:
    def watermark(as_of: datetime) -> Event:
        return bus.event(name="Watermark", data=as_of.isoformat().encode())

    return watermark


def publisher_of(bus: Bus) -> WatermarkPublisher:
    """Publishes at each call; it does not have the lease yet."""
    lease = RelayLease(bus.tables, 60)
    return WatermarkPublisher(bus.engine, bus.tables, lease, bus.broker, builder(bus), 0.0)


async def acquire_lease(bus: Bus, watermarks: WatermarkPublisher) -> None:
    async with bus.engine.begin() as connection:
        assert await watermarks._lease.acquire(connection)


async def stored_watermarks(bus: Bus) -> list[tuple[int, datetime]]:
    """Stream sequence and moment of each watermark."""
    return [
        (message.stream_sequence, datetime.fromisoformat(message.data.decode()))
        for message in await bus.stored()
        if message.subject.endswith("Watermark")
    ]


async def wait_for_watermarks(bus: Bus, count: int) -> list[tuple[int, datetime]]:
    async def published() -> list[tuple[int, datetime]] | None:
        found = await stored_watermarks(bus)
        return found if len(found) >= count else None

    return await wait_until(published, f"{count} watermarks")


async def test_watermarks_follow_the_clock_while_no_events_are_published(
    bus: Bus,
) -> None:
    started = await bus.clock()
    async with running(bus.relay(watermark=builder(bus), watermark_seconds=0.05)):
        found = await wait_for_watermarks(bus, 3)
    moments = [as_of for _, as_of in found]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)
    assert moments[0] > started


async def test_no_watermark_is_later_than_an_unpublished_event(bus: Bus) -> None:
    await bus.commit(bus.event("a"))
    [row] = await bus.rows(bus.tables.outbox)
    watermarks = publisher_of(bus)
    await acquire_lease(bus, watermarks)
    for _ in range(3):
        await watermarks.publish_if_due()
    assert [as_of for _, as_of in await stored_watermarks(bus)] == [row["recorded_at"]] * 3


async def test_no_watermark_is_later_than_a_parked_event(bus: Bus) -> None:
    outbox = Outbox(bus.tables, max_data_bytes=2_000_000)
    await bus.commit(bus.event("bad", data=b"x" * 1_100_000), outbox=outbox)
    [row] = await bus.rows(bus.tables.outbox)
    async with running(bus.relay(watermark=builder(bus), watermark_seconds=0.02)):
        found = await wait_for_watermarks(bus, 2)
    assert {as_of for _, as_of in found} == {row["recorded_at"]}


async def test_without_the_lease_no_watermark_is_published(bus: Bus) -> None:
    holder = bus.relay(lease_seconds=60)
    await holder.publish_once()
    await publisher_of(bus).publish_if_due()
    assert await stored_watermarks(bus) == []


async def test_an_event_committed_before_a_watermark_precedes_it_in_the_stream(
    bus: Bus,
) -> None:
    """Under continuous commits, short and long, by several writers."""
    committed: list[tuple[str, datetime]] = []
    relay = bus.relay(watermark=builder(bus), watermark_seconds=0.0, poll_seconds=0.001)

    async def write(writer: int) -> None:
        for number in range(40):
            written = bus.event(f"k{writer}")
            async with bus.engine.begin() as connection:
                await Outbox(bus.tables).publish(connection, [written])
                if number % 4 == 0:
                    await connection.execute(text("SELECT pg_sleep(0.02)"))
            # Read after the commit, which is therefore earlier.
            committed.append((written.id, await bus.clock()))

    async with running(relay):
        await asyncio.gather(*(write(writer) for writer in range(4)))
    messages = await bus.stored()
    sequences = {message.headers["ce-id"]: message.stream_sequence for message in messages}
    found = await stored_watermarks(bus)
    assert len(found) > 10
    for sequence, as_of in found:
        late = [id_ for id_, moment in committed if moment < as_of and sequences[id_] > sequence]
        assert not late


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_no_watermark_is_later_than_an_event_committed_while_it_is_computed(
    bus: Bus, number: int
) -> None:
    """After whichever of its statements the event commits."""
    watermarks = publisher_of(bus)
    await acquire_lease(bus, watermarks)
    statements, committed_by = 0, []

    async def commit() -> None:
        await bus.execute(insert(bus.tables.outbox).values(**ROW))
        committed_by.append(await bus.clock(bus.superuser))

    def after_statement(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == number:
            await_only(commit())

    event.listen(bus.engine.sync_engine, "after_cursor_execute", after_statement)
    as_of = await watermarks.complete_until()
    assert as_of is not None
    assert all(as_of <= moment for moment in committed_by)
    assert committed_by or number > 3


async def test_a_watermark_is_in_utc_and_not_ahead_of_the_clock(bus: Bus) -> None:
    watermarks = publisher_of(bus)
    await acquire_lease(bus, watermarks)
    await watermarks.publish_if_due()
    [(_, as_of)] = await stored_watermarks(bus)
    assert as_of.utcoffset() == timedelta(0)
    assert as_of.astimezone(UTC) <= await bus.clock()


async def test_watermarks_advance_once_a_parked_event_is_published(bus: Bus) -> None:
    refused = bus.event("bad")
    publisher = RefusingPublisher(bus.broker, refused)
    await bus.commit(refused)
    [row] = await bus.rows(bus.tables.outbox)
    async with running(bus.relay(publisher, builder(bus), watermark_seconds=0.02)):
        assert {as_of for _, as_of in await wait_for_watermarks(bus, 2)} == {row["recorded_at"]}
        publisher.refused.clear()
        await bus.retry_parked()

        async def later() -> bool:
            return any(as_of > row["recorded_at"] for _, as_of in await wait_for_watermarks(bus, 1))

        await wait_until(later, "a watermark that is newer than the event")
