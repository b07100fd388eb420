"""Promises about repeated requests: for how long replies are kept, and how they are dropped."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, event, func, insert, select

from runtime.database.idempotency import IdempotencyStore, define_table
from tests.integration.bus import ROLE, Bus


@pytest.fixture
async def table(bus: Bus) -> Table:
    """A table of replies of its own."""
    replies = define_table(bus.tables.outbox.metadata)
    async with bus.superuser.begin() as connection:
        await connection.run_sync(replies.create)
    await bus.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {replies} TO {ROLE}")
    return replies


async def add(bus: Bus, table: Table, request_id: str, age: timedelta) -> None:
    names = {"caller": "mei", "method": "m", "request_id": request_id, "request_hash": b""}
    await bus.execute(insert(table).values(**names, created_at=func.now() - age))


async def kept(bus: Bus, table: Table) -> set[str]:
    async with bus.superuser.connect() as connection:
        return set((await connection.execute(select(table.c.request_id))).scalars())


@contextmanager
def rows_at_once(bus: Bus) -> Iterator[list[int]]:
    """How many rows each DELETE took."""
    counts: list[int] = []

    def count(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "DELETE" in statement:
            counts.append(cursor.rowcount)

    event.listen(bus.engine.sync_engine, "after_cursor_execute", count)
    try:
        yield counts
    finally:
        event.remove(bus.engine.sync_engine, "after_cursor_execute", count)


async def test_replies_are_kept_for_thirty_days(bus: Bus, table: Table) -> None:
    await add(bus, table, "young", timedelta(days=29))
    await add(bus, table, "old", timedelta(days=31))
    await IdempotencyStore(table, bus.engine).sweep()
    assert await kept(bus, table) == {"young"}


async def test_many_old_replies_are_dropped_in_small_batches(bus: Bus, table: Table) -> None:
    """A long transaction would hold up what else tidies."""
    await bus.execute(
        f"INSERT INTO {table}"  # noqa: S608  our own names
        " SELECT 'mei', 'm', 'r' || n, '', '', now() - interval '31 days'"
        " FROM generate_series(1, 11000) n"
    )
    with rows_at_once(bus) as counts:
        await IdempotencyStore(table, bus.engine).sweep()
    assert await kept(bus, table) == set()
    assert sum(counts) == 11_000
    assert max(counts) <= 5_000
