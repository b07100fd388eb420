"""Access codes are read by shared statements; every caller gets the present state."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from asyncpg import InsufficientPrivilegeError

from devstack.polling import wait_until
from devstack.stack import Stack
from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.storage import access_code_loader
from payment_svc.storage.access_code_loader import AccessCodeLoader
from payment_svc.storage.unit_of_work import UnitOfWork
from runtime.database.transactions import Transactions
from tests.builders.payment import make_access_code, make_order
from tests.integration.drivers.databases import ServiceDatabase, open_database

_SESSIONS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE query LIKE '%access_codes WHERE code = ANY%' AND pid <> pg_backend_pid()"
)


@pytest.fixture
async def schema(migrated_stack: Stack, servers: Stack) -> AsyncIterator[ServiceDatabase]:
    """Payment's schema without a process."""
    del servers  # restores a server that the test stopped
    async with open_database(
        migrated_stack, "payment", ("orders", "access_codes", "outbox")
    ) as database:
        yield database


@asynccontextmanager
async def running(schema: ServiceDatabase) -> AsyncIterator[AccessCodeLoader]:
    loader = AccessCodeLoader(schema.engine)
    task = asyncio.create_task(loader.run())
    try:
        yield loader
    finally:
        loader.stop()
        await task


async def store(schema: ServiceDatabase, *codes: str) -> None:
    async with Transactions(schema.engine, UnitOfWork).transaction() as uow:
        for code in codes:
            await uow.orders.save(make_order(order_id=f"ord_{code}"))
        await uow.access_codes.save_many(
            [
                replace(make_access_code(code_id=f"acc_{code}", order_id=f"ord_{code}"), code=code)
                for code in codes
            ]
        )


async def sessions(schema: ServiceDatabase) -> list[int]:
    return [pid for (pid,) in await schema.execute(_SESSIONS)]


async def test_each_caller_gets_its_code(schema: ServiceDatabase) -> None:
    names = [f"code-{number}" for number in range(50)]
    await store(schema, *names)
    async with running(schema) as loader:
        asked = [*names, "unknown", *names]
        found = await asyncio.gather(*map(loader.load, asked))
    assert [code.code if code else "unknown" for code in found] == asked


async def test_concurrent_callers_share_one_connection(schema: ServiceDatabase) -> None:
    async with running(schema) as loader:
        for _ in range(3):
            await asyncio.gather(*(loader.load(f"code-{number}") for number in range(100)))
        assert len(await sessions(schema)) == 1


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of codes that each statement reads."""
    sizes: list[int] = []
    fetch = AccessCodeLoader._fetch

    async def counted(connection: Any, codes: Sequence[str]) -> Any:
        sizes.append(len(codes))
        return await fetch(connection, codes)

    monkeypatch.setattr(AccessCodeLoader, "_fetch", staticmethod(counted))
    return sizes


async def test_callers_that_come_one_after_the_other_share_a_statement_under_load(
    schema: ServiceDatabase, statements: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_code_loader, "_INTERVAL_SECONDS", 1.0)
    async with running(schema) as loader:
        await asyncio.gather(loader.load("first"), loader.load("second"))
        calls = []
        for number in range(50):
            calls.append(asyncio.create_task(loader.load(f"code-{number}")))
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
    assert statements == [2, 50]


async def test_a_caller_alone_does_not_wait_for_others(
    schema: ServiceDatabase, statements: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_code_loader, "_INTERVAL_SECONDS", 3600)
    async with running(schema) as loader:
        for number in range(5):
            await loader.load(f"code-{number}")
    assert statements == [1] * 5


async def test_a_caller_gets_what_was_committed_before(schema: ServiceDatabase) -> None:
    await store(schema, "code")
    async with running(schema) as loader:
        for status in AccessCodeStatus:
            await schema.execute("UPDATE payment.access_codes SET status = :status", status=status)
            code = await loader.load("code")
            assert code is not None
            assert code.status is status


async def test_a_lost_connection_is_replaced_unnoticed(schema: ServiceDatabase) -> None:
    await store(schema, "code")
    async with running(schema) as loader:
        await loader.load("code")
        for pid in await sessions(schema):
            await schema.execute("SELECT pg_terminate_backend(:pid)", pid=pid)
        assert await loader.load("code")


async def test_a_connection_that_became_read_only_is_replaced(schema: ServiceDatabase) -> None:
    """Its server may no longer be the primary, and lack the latest changes."""
    async with running(schema) as loader:
        await loader.load("code")
        before = await sessions(schema)
        assert loader._connection is not None
        await loader._connection.execute("SET default_transaction_read_only = on")
        await loader.load("code")
        assert set(await sessions(schema)).isdisjoint(before)


async def test_an_error_reaches_every_caller_and_ends_with_its_cause(
    schema: ServiceDatabase,
) -> None:
    await store(schema, "code")
    async with running(schema) as loader:
        await schema.execute("REVOKE SELECT ON payment.access_codes FROM payment_runtime")
        try:
            found = await asyncio.gather(
                *(loader.load("code") for _ in range(5)), return_exceptions=True
            )
        finally:
            await schema.execute("GRANT SELECT ON payment.access_codes TO payment_runtime")
        assert {type(error) for error in found} == {InsufficientPrivilegeError}
        assert await loader.load("code")


async def test_a_cancelled_caller_disturbs_no_other(schema: ServiceDatabase) -> None:
    await store(schema, "code")
    async with running(schema) as loader:
        gone = [asyncio.create_task(loader.load("code")) for _ in range(3)]
        stays = asyncio.create_task(loader.load("code"))
        await asyncio.sleep(0)
        for caller in gone:
            caller.cancel()
        assert await stays


async def test_the_end_closes_the_connection(schema: ServiceDatabase) -> None:
    async with running(schema) as loader:
        await loader.load("code")

    async def is_closed() -> bool:
        return not await sessions(schema)

    await wait_until(is_closed, "the connection is closed")
