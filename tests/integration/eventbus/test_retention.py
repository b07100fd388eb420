"""Promises about forgetting: what is old goes, what could still matter stays."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from eventbus.retention import Retention, RetentionSettings
from eventbus.tables import remember_dropped
from tests.integration.bus import ROLE, Bus

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


async def make_day(bus: Bus, days_ago: int) -> None:
    """A partition as the rotation would have made it then."""
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    await bus.execute(
        f"CREATE TABLE {bus.schema}.outbox_published_{day:%Y%m%d}"
        f" PARTITION OF {bus.schema}.outbox_published"
        f" FOR VALUES FROM ('{day}Z') TO ('{day + timedelta(days=1)}Z')"
    )


async def days(bus: Bus) -> set[str]:
    async with bus.superuser.connect() as connection:
        statement = text(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
            " WHERE inhparent = CAST(:parent AS regclass)"
        )
        parent = f"{bus.schema}.outbox_published"
        return set((await connection.execute(statement, {"parent": parent})).scalars())


async def dropped_before(bus: Bus) -> datetime | None:
    """From when on all that was published is kept; None if nothing was ever dropped."""
    async with bus.superuser.connect() as connection:
        [note] = (await connection.execute(select(bus.tables.outbox_dropped))).scalars()
        assert note is None or isinstance(note, datetime)
        return note


def midnight(days_ago: int) -> datetime:
    """The beginning of a day."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def name_of(days_from_now: int) -> str:
    day = datetime.now(UTC).date() + timedelta(days=days_from_now)
    return f"outbox_published_{day:%Y%m%d}"


async def test_old_inbox_marks_are_dropped_and_young_ones_kept(bus: Bus) -> None:
    await add_mark(bus, "old", "HANDLED", OLD)
    await add_mark(bus, "discarded", "DISCARDED", OLD)
    await add_mark(bus, "young", "HANDLED", timedelta(days=29))
    await retention(bus).sweep()
    assert await bus.marks() == {"young": "HANDLED"}


async def test_the_mark_of_an_open_dead_letter_is_kept_however_old(bus: Bus) -> None:
    """Without it the event could come to life again."""
    await add_mark(bus, "dead", "DEAD", timedelta(days=900))
    await retention(bus).sweep()
    assert await bus.marks() == {"dead": "DEAD"}


async def test_more_old_marks_than_one_statement_drops_are_all_dropped(bus: Bus) -> None:
    await bus.execute(
        f"INSERT INTO {bus.schema}.inbox"  # noqa: S608  our own names
        " SELECT 'listener', 'e' || n, 'HANDLED', 'k', n, now() - interval '31 days'"
        " FROM generate_series(1, 11000) n"
    )
    await retention(bus).sweep()
    assert await bus.marks() == {}


async def add_letter(bus: Bus, name: str, resolution: str | None, age: timedelta) -> None:
    moment = func.now() - age
    row = {
        **dict.fromkeys(("event_id", "event_type", "subject", "key", "reason"), "x"),
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


async def test_dead_letters_are_dropped_some_time_after_their_decision_and_open_ones_never(
    bus: Bus,
) -> None:
    await add_letter(bus, "replayed", "HANDLED", OLD)
    await add_letter(bus, "discarded", "DISCARDED", OLD)
    await add_letter(bus, "open", None, timedelta(days=900))
    await add_letter(bus, "young", "HANDLED", timedelta(days=29))
    await retention(bus).sweep()
    assert [row["dead_letter_id"] for row in await bus.dead_letters()] == ["open", "young"]


async def test_old_days_of_published_events_are_dropped_and_younger_ones_kept(bus: Bus) -> None:
    for ago in (9, 8, 7, 1):
        await make_day(bus, ago)
        await add_published(bus, f"{ago} days", ago)
    await add_published(bus, "today", 0)
    await retention(bus, published_days=7).sweep()
    rows = await bus.rows(bus.tables.outbox_published)
    assert {row["id"] for row in rows} == {"7 days", "1 days", "today"}
    assert name_of(-8) not in await days(bus)
    assert name_of(-7) in await days(bus)


async def test_the_days_to_come_are_made_before_they_come(bus: Bus) -> None:
    assert {name_of(0), name_of(1), name_of(2), "outbox_published_default"} <= await days(bus)


async def test_events_published_before_their_day_was_made_move_into_it(bus: Bus) -> None:
    await bus.execute(f"DROP TABLE {bus.schema}.{name_of(0)}")
    await bus.commit(*bus.events(3))
    await bus.relay().publish_once()
    before = await bus.published()
    await retention(bus).sweep()
    assert await bus.published() == before
    async with bus.superuser.connect() as connection:
        inside = await connection.scalar(
            text(f"SELECT count(*) FROM {bus.schema}.{name_of(0)}")  # noqa: S608
        )
    assert inside == 3


async def test_old_events_whose_day_was_never_made_are_dropped_too(bus: Bus) -> None:
    """The sweep was down for days, the relay was not."""
    await add_published(bus, "old", 9)
    await retention(bus, published_days=7).sweep()
    assert await bus.rows(bus.tables.outbox_published) == []


async def test_from_when_on_all_is_kept_is_noted_when_something_is_dropped(bus: Bus) -> None:
    """A day without events is no loss, and what is gone never comes back."""
    assert await dropped_before(bus) is None
    await make_day(bus, 12)
    await retention(bus).sweep()
    assert name_of(-12) not in await days(bus)
    assert await dropped_before(bus) is None

    for ago in (11, 10, 9, 7):
        await make_day(bus, ago)
    for ago in (11, 10, 7):
        await add_published(bus, f"{ago} days", ago)
    await retention(bus).sweep()
    assert await dropped_before(bus) == midnight(9)

    await add_published(bus, "late, and of a day that was never made", 12)
    await retention(bus).sweep()
    assert await dropped_before(bus) == midnight(9)
    await add_published(bus, "of another", 8)
    await retention(bus).sweep()
    assert await dropped_before(bus) == midnight(7)


@pytest.mark.parametrize(
    ("published", "kept", "days_ago"),
    [(0, [], None), (3, [1, 2], None), (3, [2, 3], 3), (3, [], 3)],
)
async def test_tables_without_that_note_get_it(
    bus: Bus, published: int, kept: list[int], days_ago: int | None
) -> None:
    """Whether something was dropped is told by the first position; when, the oldest day bounds.

    Done twice, it makes no difference.
    """
    await make_day(bus, 3)
    await bus.commit(*bus.events(published))
    await bus.relay().publish_once()
    table = bus.tables.outbox_published
    await bus.execute(delete(table).where(table.c.position.not_in(kept)))
    await bus.execute(f"DROP TABLE {bus.tables.outbox_dropped}")
    for _ in range(2):
        async with bus.superuser.begin() as connection:
            await connection.run_sync(remember_dropped, bus.schema, ROLE)
        assert await dropped_before(bus) == (None if days_ago is None else midnight(days_ago))


async def test_sweeps_side_by_side_are_harmless(bus: Bus) -> None:
    """Each replica sweeps."""
    await make_day(bus, 9)
    await bus.execute(f"DROP TABLE {bus.schema}.{name_of(1)}")
    await asyncio.gather(*(retention(bus).sweep() for _ in range(4)))
    assert name_of(-9) not in await days(bus)
    assert name_of(1) in await days(bus)


@pytest.mark.parametrize("retention_days", [0, -1, -1000])
async def test_the_rotation_refuses_to_drop_what_was_just_published(
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
async def test_the_runtime_role_cant_change_the_tables_itself(bus: Bus, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"must be owner|permission denied"):
        async with bus.engine.begin() as connection:
            await connection.exec_driver_sql(statement.format(schema=bus.schema, today=name_of(0)))


async def test_no_other_role_may_call_the_rotation(bus: Bus) -> None:
    may = (
        "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper"
        " AND has_function_privilege(oid, CAST(:rotation AS regprocedure), 'execute')"
    )
    rotation = f"{bus.schema}.rotate_outbox_published(integer)"
    async with bus.superuser.connect() as connection:
        allowed = await connection.execute(text(may), {"rotation": rotation})
        assert list(allowed.scalars()) == ["payment_runtime"]
