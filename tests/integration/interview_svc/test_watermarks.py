"""Watermarks after the stream was recreated: its sequences begin again at 1."""

from datetime import UTC, datetime, timedelta

from tests.integration.drivers.databases import ServiceDatabase

OLD = datetime(2026, 1, 2, 12, tzinfo=UTC)
NEW = OLD + timedelta(minutes=5)


async def add(schema: ServiceDatabase, sequence: int, as_of: datetime) -> None:
    async with schema.transactions.transaction() as uow:
        await uow.watermarks.add_many([(sequence, as_of)])


async def cover(schema: ServiceDatabase, ack_floor: int) -> None:
    async with schema.transactions.transaction() as uow:
        await uow.watermarks.cover(ack_floor)


async def stored(schema: ServiceDatabase) -> tuple[datetime, int, datetime | None]:
    """The newest watermark and its sequence, and the newest covered one."""
    [row] = await schema.execute(
        "SELECT as_of, stream_sequence, covered_as_of FROM interview.payment_watermark"
    )
    return row.as_of, row.stream_sequence, row.covered_as_of


async def test_the_newest_watermark_is_not_frozen_by_a_recreated_stream(
    schema: ServiceDatabase,
) -> None:
    await add(schema, 5000, OLD)
    await add(schema, 1, NEW)
    assert await stored(schema) == (NEW, 1, None)
    await cover(schema, 1)
    assert await stored(schema) == (NEW, 1, NEW)


async def test_a_sequence_of_the_old_stream_does_not_hide_that_of_the_new_one(
    schema: ServiceDatabase,
) -> None:
    """The old one was not covered when the stream was lost."""
    await add(schema, 7, OLD)
    await add(schema, 7, NEW)
    await cover(schema, 7)
    assert await stored(schema) == (NEW, 7, NEW)


async def test_a_redelivered_older_watermark_changes_nothing(schema: ServiceDatabase) -> None:
    await add(schema, 8, NEW)
    await add(schema, 7, OLD)
    assert await stored(schema) == (NEW, 8, None)


async def test_a_watermark_of_a_wrong_clock_is_replaced_by_the_next_one(
    schema: ServiceDatabase,
) -> None:
    await add(schema, 7, NEW + timedelta(days=1))
    await add(schema, 8, NEW)
    assert await stored(schema) == (NEW, 8, None)


async def test_a_watermark_of_the_future_is_replaced_by_one_of_a_recreated_stream(
    schema: ServiceDatabase,
) -> None:
    """Of an earlier time and with a smaller sequence."""
    now = datetime.now(UTC)
    await add(schema, 5000, now + timedelta(days=1))
    await add(schema, 1, now)
    assert await stored(schema) == (now, 1, None)


async def test_a_watermark_of_the_future_covers_nothing_beyond_now(schema: ServiceDatabase) -> None:
    """Otherwise the cache would count as fresh until that time, whatever happens meanwhile."""
    before = datetime.now(UTC)
    await add(schema, 7, before + timedelta(days=1))
    await cover(schema, 7)
    _, _, covered = await stored(schema)
    assert covered is not None
    assert covered <= await schema.value("SELECT clock_timestamp()")


async def test_covering_an_older_watermark_loses_no_freshness(schema: ServiceDatabase) -> None:
    """Events that were handled stay handled, though the broker delivers old ones again."""
    await add(schema, 8, NEW)
    await cover(schema, 8)
    await add(schema, 9, OLD)
    await cover(schema, 9)
    _, _, covered = await stored(schema)
    assert covered == NEW
