"""Two transactions of a service at the same time, in a fixed order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from devstack.polling import wait_until
from tests.integration.drivers.databases import ServiceDatabase

UseCase = Callable[[Any], Awaitable[object]]


async def run_concurrently(database: ServiceDatabase, first: UseCase, second: UseCase) -> object:
    """Runs `first`, then `second` until it ends or waits for a lock; then commits both in order.

    `first` has run and not committed when `second` starts. Returns the result of `second`, and
    raises its error.
    """
    async with database.transactions.transaction() as uow:
        await first(uow)
        ended = asyncio.create_task(in_transaction(database, second))
        await wait_until_ended_or_waiting(database, ended)
    return await ended


async def in_transaction(database: ServiceDatabase, use_case: UseCase) -> object:
    """Runs a use case in a transaction of its own."""
    async with database.transactions.transaction() as uow:
        return await use_case(uow)


async def wait_until_ended_or_waiting(
    database: ServiceDatabase, task: "asyncio.Task[object]"
) -> None:
    """Waits until a task ends, or a transaction of the service waits for a lock."""
    await wait_until(lambda: _ended_or_waits(database, task), "the second transaction", 30)


async def _ended_or_waits(database: ServiceDatabase, task: "asyncio.Task[object]") -> bool:
    waiting = await database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = :role AND wait_event_type = 'Lock'",
        role=f"{database.service}_runtime",
    )
    return task.done() or bool(waiting)
