"""The pool discards connections that cannot work any more, before the next call uses them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventbus import database_errors
from eventbus.bulk_insert import insert_rows
from eventbus.database_errors import Fault, fault_of
from eventbus.errors import is_transient
from eventbus.fixed_statement import FixedStatement
from runtime.database.engine import open_pool
from runtime.database.transactions import Transactions
from runtime.rpc.health import HealthMonitor
from tests.integration.drivers.bus import ROLE, Bus
from tests.integration.drivers.read_only_pool import fill_pool


@pytest.fixture
async def pool(bus: Bus) -> AsyncIterator[AsyncEngine]:
    """A pool of three connections, as a service opens it."""
    engine = open_pool(bus.stack.database_url(ROLE), 3, "test")
    yield engine
    await engine.dispose()


async def write(bus: Bus, pool: AsyncEngine) -> None:
    async with pool.begin() as connection:
        row = {"event_id": "e", "key": "", "version": 1}
        await connection.execute(insert(bus.effects).values(row))


async def failures_of(calls: int, call: Any) -> list[DBAPIError]:
    """The errors of successive calls."""
    failures = []
    for _ in range(calls):
        try:
            await call()
        except DBAPIError as error:
            failures.append(error)
    return failures


@pytest.mark.parametrize(("read_only", "writable"), [(3, 0), (2, 1)])
async def test_the_first_refused_write_replaces_a_read_only_pool(
    bus: Bus, pool: AsyncEngine, read_only: int, writable: int
) -> None:
    """Also if some of its connections are good: the others may all be bad."""
    await fill_pool(pool, read_only, writable)
    [failure] = await failures_of(12, lambda: write(bus, pool))
    assert is_transient(failure)
    assert len(await bus.rows(bus.effects)) == 11


async def test_one_lost_connection_is_replaced_alone(bus: Bus, pool: AsyncEngine) -> None:
    """An error of one connection, here an unknown prepared statement, costs no other one."""
    await fill_pool(pool, 0, 3)
    before = await backends(pool)
    async with pool.connect() as connection:
        with pytest.raises(DBAPIError) as failure:
            await connection.execute(text("DEALLOCATE unknown"))
    assert fault_of(failure.value) is Fault.CONNECTION
    assert len(await backends(pool) & before) == 2
    await write(bus, pool)


async def test_connections_that_the_server_closed_are_replaced_without_an_error(
    bus: Bus, pool: AsyncEngine
) -> None:
    """As after a restart of the database, for queries and for transactions."""
    await fill_pool(pool, 0, 3)
    before = await backends(pool)
    for pid in before:
        await bus.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
    database = Transactions(pool, Work)
    async with database.read_only() as one, database.read_only() as two:
        assert not {await one.backend(), await two.backend()} & before
    async with database.transaction() as work:
        assert await work.backend() not in before


async def test_a_transaction_that_cannot_begin_on_a_connection_begins_on_another(
    pool: AsyncEngine,
) -> None:
    database = Transactions(pool, Work)
    broken = await break_all(pool)
    async with database.transaction() as work:
        assert await work.backend() not in broken


async def test_a_connection_that_was_unused_for_long_is_checked_first(
    pool: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host may be gone without a trace."""
    await break_all(pool)
    monkeypatch.setattr(database_errors, "_UNUSED_SECONDS", 0.0)
    async with pool.connect() as connection:
        await connection.execute(select(func.pg_backend_pid()))


class Work:
    """A unit of work that only tells its connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def backend(self) -> int:
        return int(await self._connection.scalar(select(func.pg_backend_pid())) or 0)

    async def flush_events(self) -> None:
        """There are none."""


async def break_all(pool: AsyncEngine) -> set[int]:
    """Fills the pool with connections that are open and that can begin no transaction."""
    await fill_pool(pool, 0, 3)
    broken = await backends(pool)
    async with pool.connect() as one, pool.connect() as two, pool.connect() as three:
        for connection in (one, two, three):
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("BEGIN")
    return broken


async def test_an_error_of_the_statement_keeps_the_connection(pool: AsyncEngine) -> None:
    await fill_pool(pool, 0, 3)
    before = await backends(pool)
    async with pool.connect() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT 1/0"))
    assert await backends(pool) == before


async def backends(pool: AsyncEngine) -> set[int]:
    """The server processes of the three pooled connections."""
    async with pool.connect() as one, pool.connect() as two, pool.connect() as three:
        statement = select(func.pg_backend_pid())
        return {int((await each.execute(statement)).scalar_one()) for each in (one, two, three)}


async def test_one_call_at_most_fails_after_the_type_of_a_column_was_altered(
    bus: Bus, pool: AsyncEngine
) -> None:
    """Its plan is outdated in every connection; that failure asks for a retry."""

    async def read_all() -> None:
        async with pool.connect() as one, pool.connect() as two, pool.connect() as three:
            for connection in (one, two, three):
                await connection.execute(select(bus.effects))

    await read_all()
    await bus.execute(f"ALTER TABLE {bus.effects} ALTER COLUMN key TYPE varchar(200)")
    failures = await failures_of(8, read_all)
    assert len(failures) == 1
    assert is_transient(failures[0])


async def test_no_connection_to_a_read_only_server_is_opened(bus: Bus, pool: AsyncEngine) -> None:
    """It would answer queries with old data."""

    async def read() -> None:
        async with pool.connect() as connection:
            await connection.execute(select(bus.effects))

    async with read_only_role(bus):
        with pytest.raises(DBAPIError) as refused:
            await read()
        assert fault_of(refused.value) is Fault.SERVER
    await read()


@asynccontextmanager
async def read_only_role(bus: Bus) -> AsyncIterator[None]:
    """Makes new sessions of the role read-only during the block."""
    await bus.execute(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        await bus.execute(f"ALTER ROLE {ROLE} RESET default_transaction_read_only")


async def test_a_transaction_that_goes_on_after_its_connection_was_discarded_can_be_retried(
    pool: AsyncEngine,
) -> None:
    """A handler may catch the first error."""

    async def go_on(connection: AsyncConnection) -> None:
        with pytest.raises(DBAPIError):
            await connection.execute(text("DEALLOCATE unknown"))
        await connection.execute(text("SELECT 1"))

    async with pool.connect() as connection:
        with pytest.raises(Exception, match="reconnect") as failure:
            await go_on(connection)
    assert is_transient(failure.value)


async def test_health_is_not_serving_while_the_database_is_read_only(
    bus: Bus, pool: AsyncEngine
) -> None:
    """A read-only connection answers queries; the monitor discards it."""
    await fill_pool(pool, read_only=1)
    monitor = HealthMonitor(pool, bus.broker, [])
    assert not await monitor._database_is_healthy()
    assert await monitor._database_is_healthy()


async def test_a_missing_socket_of_a_local_server_is_an_error_of_the_connection(
    tmp_path: Path,
) -> None:
    """Unlike any other missing file."""
    engine = open_pool(f"postgresql://nobody@/none?host={tmp_path}", 1, "test")
    with pytest.raises(ConnectionError, match="No such file") as failure:
        async with engine.connect():
            pass
    assert fault_of(failure.value) is Fault.CONNECTION
    await engine.dispose()


@pytest.mark.parametrize("behind_pooler", [True, False])
async def test_behind_a_pooler_nothing_stays_in_the_session(bus: Bus, behind_pooler: bool) -> None:
    """The next transaction may be of another client: neither statements nor settings remain."""
    engine = open_pool(bus.stack.database_url(ROLE), 1, "test", behind_pooler=behind_pooler)
    row = {"event_id": "e", "key": "", "version": 1}
    rows = [{**row, "event_id": f"e{number}"} for number in range(3)]
    fixed = FixedStatement(insert(bus.effects), row)
    try:
        async with engine.begin() as connection:
            await connection.execute(insert(bus.effects).values(row))
            await connection.execute(insert(bus.effects), rows)
            await fixed.execute(connection, row)
            await fixed.execute_many(connection, rows)
            await insert_rows(connection, bus.effects, rows)
        async with engine.connect() as connection:
            left = await connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
        assert len(await bus.rows(bus.effects)) == 11
    finally:
        await engine.dispose()
    assert (left == 0) is behind_pooler


@pytest.mark.parametrize(
    ("database", "problem"),
    [
        ("postgres", "permission denied"),  # SQLSTATE 42501
        ("template0", "not currently accepting connections"),  # 55000
        ("mock_interview?options=-c statement_timeout=none", "invalid value"),  # 22023
    ],
)
async def test_a_refused_connection_is_not_the_fault_of_a_statement(
    bus: Bus, database: str, problem: str
) -> None:
    """Also if a statement would be to blame for its SQLSTATE."""
    server = bus.stack.database_url(ROLE).rpartition("/")[0]
    engine = open_pool(f"{server}/{database}", 1, "test")
    with pytest.raises(ConnectionError, match=problem) as failure:
        async with engine.connect():
            pass
    assert fault_of(failure.value) is Fault.CONNECTION
    await engine.dispose()
