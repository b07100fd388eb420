"""The platform behind PgBouncer, in transaction and in session mode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from devstack import commands
from devstack.servers.postgres import SERVICES
from runtime.database.pooler import keeps_prepared_statements
from runtime.database_url import DatabaseUrl
from tests.deploy.servers.drivers.pgbouncer import Mode, PgBouncer, running_pgbouncer
from tests.system.drivers.load import check_consistency, under_load
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_runner import run_to_end, running_parts
from tests.system.drivers.stack_settings import settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOURNEYS = 200
# Fewer than the connections of a service's pool in transaction mode; at least as many, with those
# outside the pool, in session mode.
POOL_SIZES: dict[Mode, int] = {"transaction": 6, "session": 16}

# PgBouncer sets these for each client.
SET_BY_PGBOUNCER = {
    *("application_name", "client_encoding", "DateStyle", "IntervalStyle"),
    *("standard_conforming_strings", "TimeZone"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """All that the services need, with migrated schemas; the services do not run."""
    directory = tmp_path_factory.mktemp("poolers") / "stack"
    stack_settings = settings(directory)
    environment = {name: dict(stack_settings.environment[name]) for name in SERVICES}
    stack_settings = replace(
        stack_settings, environment={**stack_settings.environment, **environment}
    )
    parts = ("postgres", "nats", "mailbox", "provider")
    async with running_parts(directory, stack_settings, parts) as devstack:
        for service in SERVICES:
            await devstack.migrate(service)
        async with devstack.connect() as clients:
            yield RunningStack(devstack, clients)


@asynccontextmanager
async def services_behind(bouncer: PgBouncer, *, pooled: bool) -> AsyncIterator[None]:
    """The services, whose connections to PostgreSQL all go through the pooler."""
    devstack = bouncer.stack
    for service in SERVICES:
        environment = devstack.settings.environment[service]
        assert isinstance(environment, dict)
        prefix = service.upper()
        environment[f"{prefix}_DATABASE_URL"] = bouncer.url(f"{service}_runtime")
        environment[f"{prefix}_DATABASE_POOLED"] = str(pooled)
    async with AsyncExitStack() as started:
        for service in SERVICES:
            await devstack.start(service)
            started.push_async_callback(devstack.terminate, service)
        yield


async def left_in_sessions(bouncer: PgBouncer, role: str) -> set[str]:
    """What clients left in the server's sessions of a role: settings and prepared statements.

    Transactions that are open at the same time have each session of the pool.
    """
    left: set[str] = set()
    async with AsyncExitStack() as opened:
        for _ in range(POOL_SIZES["transaction"]):
            connection = await asyncpg.connect(bouncer.url(role), statement_cache_size=0)
            opened.push_async_callback(connection.close)
            await opened.enter_async_context(connection.transaction())
            rows = await connection.fetch(
                "SELECT statement AS what FROM pg_prepared_statements"
                " UNION SELECT name FROM pg_settings"
                " WHERE source = 'session' AND setting <> reset_val"
            )
            left |= {row["what"] for row in rows}
    return left - SET_BY_PGBOUNCER


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_journeys_through_a_pooler(stack: RunningStack, tmp_path: Path, mode: Mode) -> None:
    """No journey is lost or has an effect twice; nothing stays in the server's sessions."""
    pool_size = POOL_SIZES[mode]
    async with running_pgbouncer(stack.devstack, tmp_path / "p", mode, pool_size) as bouncer:
        async with services_behind(bouncer, pooled=mode == "transaction"):
            async with under_load(stack) as load:
                await load.wait_for_journeys(JOURNEYS, 240)
            assert len(load.orders) >= JOURNEYS
            await check_consistency(stack)
            for service in SERVICES:
                assert stack.log_entries(service, event="unexpected error") == []
        if mode == "transaction":
            for service in SERVICES:
                assert await left_in_sessions(bouncer, f"{service}_runtime") == set()


@pytest.mark.parametrize("pool_size", [1, 5])
async def test_transaction_mode_is_refused_without_the_setting(
    stack: RunningStack, tmp_path: Path, pool_size: int
) -> None:
    """Each service says at its start what is wrong; also if the pooler has one connection only."""
    async with running_pgbouncer(
        stack.devstack, tmp_path / "p", "transaction", pool_size
    ) as bouncer:
        for service in SERVICES:
            prefix = service.upper()
            status, output = await run_to_end(
                commands.service(stack.devstack, service),
                {
                    f"{prefix}_DATABASE_URL": bouncer.url(f"{service}_runtime"),
                    f"{prefix}_DATABASE_POOLED": "false",
                },
            )
            assert status == 1
            assert f"set {prefix}_DATABASE_POOLED=true" in output


@pytest.mark.parametrize(("mode", "kept"), [("transaction", False), ("session", True)])
async def test_the_mode_is_recognised_beside_other_clients(
    stack: RunningStack, tmp_path: Path, mode: Mode, kept: bool
) -> None:
    """Busy clients change which of the pooler's connections are free at each moment."""
    async with AsyncExitStack() as opened:
        bouncer = await opened.enter_async_context(
            running_pgbouncer(stack.devstack, tmp_path / "p", mode, 8)
        )
        url = bouncer.url("payment_runtime")
        clients = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(4)]
        for client in clients:
            opened.push_async_callback(client.close)
        stopping = asyncio.Event()

        async def keep_busy(client: "asyncpg.Connection[asyncpg.Record]") -> None:
            while not stopping.is_set():
                await client.execute("SELECT pg_sleep(0.001)")

        busy = [asyncio.create_task(keep_busy(client)) for client in clients]
        parsed = DatabaseUrl.parse(url)
        found = [await keeps_prepared_statements(parsed, "test") for _ in range(30)]
        stopping.set()
        await asyncio.gather(*busy)
        assert found == [kept] * 30


async def test_a_server_without_a_pooler_keeps_statements(stack: RunningStack) -> None:
    """This needs one query."""
    url = DatabaseUrl.parse(stack.devstack.database_url("payment_runtime"))
    assert await keeps_prepared_statements(url, "test")
