"""Fixed statements: what `AsyncConnection.execute` does, at the cost of the driver alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import bindparam, func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.polling import wait_until
from eventbus.database_errors import Fault, fault_of
from eventbus.fixed_statement import FixedStatement, any_of
from runtime.database.engine import open_pool
from tests.integration.drivers.bus import ROLE, Bus
from tests.integration.drivers.read_only_pool import fill_pool

_BACKEND = FixedStatement(select(func.pg_backend_pid().label("pid")))
_SLEEP = FixedStatement(text("SELECT pg_sleep(60)"))


@pytest.fixture
async def pool(bus: Bus) -> AsyncIterator[AsyncEngine]:
    """A pool of one connection, as a service opens it."""
    engine = open_pool(bus.stack.database_url(ROLE), 1, "test")
    yield engine
    await engine.dispose()


@pytest.fixture
def add(bus: Bus) -> FixedStatement:
    return FixedStatement(insert(bus.effects), ["event_id", "key", "version"])


def row(event_id: str, version: int = 1) -> dict[str, Any]:
    return {"event_id": event_id, "key": "k", "version": version}


async def backend(pool: AsyncEngine) -> int:
    async with pool.connect() as connection:
        [found] = await _BACKEND.fetch(connection)
        return int(found.pid)


async def test_it_is_part_of_the_transaction(
    bus: Bus, pool: AsyncEngine, add: FixedStatement
) -> None:
    """Before and after a statement of SQLAlchemy."""
    async with pool.connect() as connection:
        await add.execute(connection, row("rolled back"))
        await connection.execute(insert(bus.effects).values(row("rolled back too")))
        await connection.rollback()
        await connection.execute(insert(bus.effects).values(row("1")))
        await add.execute(connection, row("2"))
        await connection.commit()
        await add.execute(connection, row("not committed"))
    assert await bus.effect_ids() == ["1", "2"]


async def test_without_transactions_it_commits_at_once(
    bus: Bus, pool: AsyncEngine, add: FixedStatement
) -> None:
    engine = pool.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await add.execute(connection, row("1"))
        assert await bus.effect_ids() == ["1"]
    async with pool.connect() as connection:
        await add.execute(connection, row("in a transaction again"))
    assert await bus.effect_ids() == ["1"]


async def test_rows_have_their_columns_as_attributes(
    bus: Bus, pool: AsyncEngine, add: FixedStatement
) -> None:
    table = bus.effects
    find = FixedStatement(
        select(table)
        .where(table.c.event_id == any_of("ids"), table.c.version >= bindparam("least"))
        .order_by(table.c.event_id)
    )
    async with pool.connect() as connection:
        await add.execute_many(connection, [])
        await add.execute_many(connection, [row("1"), row("2"), row("3", version=7)])
        rows = await find.fetch(connection, {"ids": ["1", "3", "4"], "least": 1})
        assert [(found.event_id, found.version) for found in rows] == [("1", 1), ("3", 7)]
        assert await find.first(connection, {"ids": ["1"], "least": 2}) is None
        with pytest.raises(AttributeError):
            _ = rows[0].unknown
        with pytest.raises(KeyError):
            await find.fetch(connection, {"ids": ["1"]})


def test_a_list_of_any_length_is_refused(bus: Bus) -> None:
    """Its SQL would depend on the length."""
    with pytest.raises(ValueError, match="length"):
        FixedStatement(select(bus.effects).where(bus.effects.c.key.in_(["a", "b"])))


async def test_an_error_of_the_statement_is_sqlalchemys_and_keeps_the_connection(
    bus: Bus, pool: AsyncEngine, add: FixedStatement
) -> None:
    """Its text has no data: PostgreSQL's detail would."""
    await bus.execute(f"CREATE UNIQUE INDEX ON {bus.effects} (event_id)")
    before = await backend(pool)
    async with pool.connect() as connection:
        await add.execute(connection, row("secret"))
        with pytest.raises(IntegrityError) as failure:
            await add.execute_many(connection, [row("other"), row("secret")])
    assert "secret" not in str(failure.value)
    assert fault_of(failure.value) is Fault.STATEMENT
    assert await backend(pool) == before
    assert await bus.effect_ids() == []


async def test_a_failed_connection_leaves_the_pool(pool: AsyncEngine) -> None:
    before = await backend(pool)
    async with pool.connect() as connection:
        with pytest.raises(DBAPIError) as failure:
            await FixedStatement(text("DEALLOCATE unknown")).execute(connection)
    assert fault_of(failure.value) is Fault.CONNECTION
    assert await backend(pool) != before


async def test_the_first_refused_write_replaces_a_read_only_pool(
    bus: Bus, add: FixedStatement
) -> None:
    pool = open_pool(bus.stack.database_url(ROLE), 3, "test")
    await fill_pool(pool, read_only=3)
    failures = 0
    for number in range(6):
        try:
            async with pool.begin() as connection:
                await add.execute(connection, row(str(number)))
        except DBAPIError:
            failures += 1
    await pool.dispose()
    assert failures == 1
    assert len(await bus.effect_ids()) == 5


async def test_the_connection_of_a_cancelled_statement_is_not_used_again(
    bus: Bus, pool: AsyncEngine
) -> None:
    """The reply to the statement might be taken for that to the next one."""
    before = await backend(pool)

    async def sleep() -> None:
        async with pool.connect() as connection:
            await _SLEEP.execute(connection)

    async def is_sleeping() -> bool:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid AND query ~ 'sleep'")
        async with bus.superuser.connect() as connection:
            return bool(await connection.scalar(query, {"pid": before}))

    sleeping = asyncio.create_task(sleep())
    await wait_until(is_sleeping, "the statement runs")
    sleeping.cancel()
    with suppress(asyncio.CancelledError):
        await sleeping
    assert await backend(pool) != before
