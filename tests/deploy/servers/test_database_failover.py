"""PostgreSQL with a synchronous standby: the primary is lost, comes back, and is switched over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.servers.postgres import SERVICES
from tests.deploy.servers.drivers.replicated_postgres import ReplicatedPostgres, replicated_postgres
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.load import check_consistency, under_load
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import settings

RECOVERY_SECONDS = 15.0
_NO_SESSION = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename LIKE '%_runtime')"
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE '%_runtime'"
)

# The test's own connection, which would go on to read what the demoted server has.
_END_OWN_SESSION = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE usename = 'postgres' AND datname = 'mock_interview'"
)


@asynccontextmanager
async def stack_on(servers: ReplicatedPostgres, directory: Path) -> AsyncIterator[RunningStack]:
    """A stack whose database URLs name both servers."""
    stack_settings = replace(settings(directory), postgres_url=servers.url)
    async with running(directory, stack_settings) as devstack, devstack.connect() as clients:
        yield RunningStack(devstack, clients)


@pytest.mark.timeout(300)
async def test_starts_succeed_again_within_seconds_of_a_failover(tmp_path: Path) -> None:
    """The primary is killed, the standby promoted; then the old primary comes back read-only.

    No order is lost and no event becomes a dead letter; no connection stays at a server that
    refuses writes, be it a standby or a demoted primary that keeps its sessions.
    """
    async with (
        replicated_postgres(tmp_path / "postgres") as servers,
        stack_on(servers, tmp_path / "stack") as stack,
    ):
        first, second = servers.nodes
        journey, order_id, code = await stack.prepare_session()
        async with under_load(stack) as load:
            await servers.fail_over()
            started = await retry(lambda: journey.start(code), "a start", RECOVERY_SECONDS)
            assert started.order_id == order_id
            await load.wait_for_journeys(5)
            # New connections ask the old primary first, which is a standby now.
            await servers.rejoin()
            await second.execute(_END_SESSIONS)
            await load.wait_for_journeys(5)
            assert await first.is_true(_NO_SESSION)
        journey, order_id, code = await stack.prepare_session()
        async with under_load(stack) as load:
            await servers.switch_over()
            await second.execute(_END_OWN_SESSION)
            await retry(lambda: journey.start(code), "a start", RECOVERY_SECONDS)
            await second.wait_until_true(_NO_SESSION)
            await load.wait_for_journeys(5)
        await check_consistency(stack)
        for service in SERVICES:
            assert stack.log_entries(service, event="unexpected error") == []
