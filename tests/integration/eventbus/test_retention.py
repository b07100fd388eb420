"""Retention deletes old rows, and keeps those that may still be needed."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError

from eventbus.retention import Retention, RetentionSettings
from tests.integration.drivers.bus import Bus

OLD = timedelta(days=31)


def retention(bus: Bus, published_days: int = 7, inbox_days: int = 30) -> Retention:
    return Retention(bus.engine, bus.tables, RetentionSettings(published_days, inbox_days))


async def add_mark(bus: Bus, event_id: str, state: str, age: timedelta) -> None:
    row = {"consumer": "listener", "event_id": event_id, "state": state, "key": "k"}
    received_at = func.now() - age
    await bus.execute(
        insert(bus.tables.inbox).values(**row, stream_sequence=1, received_at=received_at)
    )


async def add_published(bus: Bus, event_id: str, days_ago: int) -> None:
    today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    row = {
        **dict.fromkeys(("type", "key", "source", "traceparent"), "x"),
        "position": 1,
        "id": event_id,
        "data": b"",
        "occurred_at": today,
        "published_at": today - timedelta(days=days_ago),
    }
    await bus.execute(insert(bus.tables.outbox_published).values(row))


async def create_partition(bus: Bus, days_ago: int) -> None:
    """Creates the partition of a past day, as the rotation would have done then."""
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    await bus.execute(
        f"CREATE TABLE {bus.schema}.outbox_published_{day:%Y%m%d}"
        f" PARTITION OF {bus.schema}.outbox_published"
        f" FOR VALUES FROM ('{day}Z') TO ('{day + timedelta(days=1)}Z')"
    )


async def partitions(bus: Bus) -> set[str]:
    async with bus.superuser.connect() as connection:
        statement = text(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
            " WHERE inhparent = CAST(:parent AS regclass)"
        )
        parent = f"{bus.schema}.outbox_published"
        return set((await connection.execute(statement, {"parent": parent})).scalars())


async def dropped_before(bus: Bus) -> datetime | None:
    """The moment before which published events were dropped; None if none were."""
    async with bus.superuser.connect() as connection:
        [moment] = (await connection.execute(select(bus.tables.outbox_dropped))).scalars()
        assert moment is None or isinstance(moment, datetime)
        return moment


def midnight(days_ago: int) -> datetime:
    """The beginning of a past day."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def partition_of(days_from_now: int) -> str:
    day = datetime.now(UTC).date() + timedelta(days=days_from_now)
    return f"outbox_published_{day:%Y%m%d}"


async def test_old_inbox_marks_are_deleted_and_recent_ones_kept(bus: Bus) -> None:
    await add_mark(bus, "old", "HANDLED", OLD)
    await add_mark(bus, "discarded", "DISCARDED", OLD)
    await add_mark(bus, "recent", "HANDLED", timedelta(days=29))
    await retention(bus).sweep()
    assert await bus.marks() == {"recent": "HANDLED"}


async def test_the_mark_of_an_open_dead_letter_is_kept_at_any_age(bus: Bus) -> None:
    """Without it the event could be handled after all."""
    await add_mark(bus, "dead", "DEAD", timedelta(days=900))
    await retention(bus).sweep()
    assert await bus.marks() == {"dead": "DEAD"}


async def test_more_old_marks_than_one_batch_are_all_deleted(bus: Bus) -> None:
    await bus.execute(
        f"INSERT INTO {bus.schema}.inbox"  # noqa: S608  names of our own
        " SELECT 'listener', 'e' || n, 'HANDLED', 'k', n, now() - interval '31 days'"
        " FROM generate_series(1, 11000) n"
    )
    await retention(bus).sweep()
    assert await bus.marks() == {}


async def add_dead_letter(bus: Bus, name: str, resolution: str | None, age: timedelta) -> None:
    moment = func.now() - age
    row = {
        **dict.fromkeys(("event_id", "event_type", "subject", "key", "kind", "reason"), "x"),
        "dead_letter_id": name,
        "consumer": "listener",
        "stream_sequence": 1,
        "data": b"an access code",
        "headers": {},
        "attempts": 1,
        "resolution": resolution,
        "dead_at": moment,
        "resolved_at": moment if resolution else None,
    }
    await bus.execute(insert(bus.tables.dead_letters).values(row))


async def test_resolved_dead_letters_are_deleted_after_a_time_and_open_ones_never(
    bus: Bus,
) -> None:
    await add_dead_letter(bus, "replayed", "HANDLED", OLD)
    await add_dead_letter(bus, "discarded", "DISCARDED", OLD)
    await add_dead_letter(bus, "open", None, timedelta(days=900))
    await add_dead_letter(bus, "recent", "HANDLED", timedelta(days=29))
    await retention(bus).sweep()
    assert [row["dead_letter_id"] for row in await bus.dead_letters()] == ["open", "recent"]


async def test_old_days_of_published_events_are_dropped_and_recent_ones_kept(bus: Bus) -> None:
    for ago in (9, 8, 7, 1):
        await create_partition(bus, ago)
        await add_published(bus, f"{ago} days", ago)
    await add_published(bus, "today", 0)
    await retention(bus, published_days=7).sweep()
    rows = await bus.rows(bus.tables.outbox_published)
    assert {row["id"] for row in rows} == {"7 days", "1 days", "today"}
    assert partition_of(-8) not in await partitions(bus)
    assert partition_of(-7) in await partitions(bus)


async def test_the_partitions_of_the_next_days_exist(bus: Bus) -> None:
    assert {
        partition_of(0),
        partition_of(1),
        partition_of(2),
        "outbox_published_default",
    } <= await partitions(bus)


async def test_events_published_before_their_partition_existed_move_into_it(bus: Bus) -> None:
    await bus.execute(f"DROP TABLE {bus.schema}.{partition_of(0)}")
    await bus.commit(*bus.events(3))
    await bus.relay().publish_once()
    before = await bus.published()
    await retention(bus).sweep()
    assert await bus.published() == before
    async with bus.superuser.connect() as connection:
        inside = await connection.scalar(
            text(f"SELECT count(*) FROM {bus.schema}.{partition_of(0)}")  # noqa: S608
        )
    assert inside == 3


async def test_old_events_without_a_partition_of_their_day_are_dropped_too(bus: Bus) -> None:
    """The relay ran for days while the rotation did not."""
    await add_published(bus, "old", 9)
    await retention(bus, published_days=7).sweep()
    assert await bus.rows(bus.tables.outbox_published) == []


async def test_dropping_events_records_the_moment_before_which_they_were_dropped(bus: Bus) -> None:
    """A day without events is not recorded, and the moment never moves back."""
    assert await dropped_before(bus) is None
    await create_partition(bus, 12)
    await retention(bus).sweep()
    assert partition_of(-12) not in await partitions(bus)
    assert await dropped_before(bus) is None

    for ago in (11, 10, 9, 7):
        await create_partition(bus, ago)
    for ago in (11, 10, 7):
        await add_published(bus, f"{ago} days", ago)
    await retention(bus).sweep()
    assert await dropped_before(bus) == midnight(9)

    await add_published(bus, "late, without a partition", 12)
    await retention(bus).sweep()
    assert await dropped_before(bus) == midnight(9)
    await add_published(bus, "another one", 8)
    await retention(bus).sweep()
    assert await dropped_before(bus) == midnight(7)


async def test_concurrent_sweeps_do_not_conflict(bus: Bus) -> None:
    """Each replica runs retention."""
    await create_partition(bus, 9)
    await bus.execute(f"DROP TABLE {bus.schema}.{partition_of(1)}")
    await asyncio.gather(*(retention(bus).sweep() for _ in range(4)))
    assert partition_of(-9) not in await partitions(bus)
    assert partition_of(1) in await partitions(bus)


async def test_no_advisory_lock_of_another_role_delays_the_rotation(bus: Bus) -> None:
    """Any role of the database may take one."""
    async with bus.superuser.connect() as other:
        key = f"{bus.schema}.rotate_outbox_published"
        await other.execute(text("SELECT pg_advisory_lock(hashtext(:key))"), {"key": key})
        async with asyncio.timeout(20):
            await retention(bus).sweep()


@pytest.mark.parametrize("retention_days", [0, -1, -1000])
async def test_the_rotation_refuses_a_retention_below_one_day(
    bus: Bus, retention_days: int
) -> None:
    await add_published(bus, "today", 0)
    with pytest.raises(DBAPIError, match="would drop"):
        await retention(bus, published_days=retention_days).sweep()
    assert await bus.published() == ["today"]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE {schema}.{today}",
        "TRUNCATE {schema}.outbox_published",
        "ALTER TABLE {schema}.outbox_published DETACH PARTITION {schema}.{today}",
        "CREATE TABLE {schema}.mine (x integer)",
        "ALTER FUNCTION {schema}.rotate_outbox_published(integer) SECURITY INVOKER",
        "DROP FUNCTION {schema}.rotate_outbox_published(integer)",
    ],
)
async def test_the_runtime_role_cannot_change_the_tables(bus: Bus, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"must be owner|permission denied"):
        async with bus.engine.begin() as connection:
            await connection.exec_driver_sql(
                statement.format(schema=bus.schema, today=partition_of(0))
            )


async def test_only_the_runtime_role_may_call_the_rotation(bus: Bus) -> None:
    permitted = (
        "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper"
        " AND has_function_privilege(oid, CAST(:rotation AS regprocedure), 'execute')"
    )
    rotation = f"{bus.schema}.rotate_outbox_published(integer)"
    async with bus.superuser.connect() as connection:
        allowed = await connection.execute(text(permitted), {"rotation": rotation})
        assert list(allowed.scalars()) == ["payment_runtime"]
