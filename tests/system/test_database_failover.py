"""A database that refuses writes for a while, or changes under the services: no event suffers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from google.rpc import error_details_pb2

from clients import error_details
from tests.system.drivers.effects import PAID
from tests.system.drivers.grpc_calls import raises_rpc_error, retry
from tests.system.drivers.health import wait_for_health
from tests.system.drivers.running_stack import RunningStack

ROLE = "payment_runtime"


@asynccontextmanager
async def read_only(stack: RunningStack) -> AsyncIterator[None]:
    """Makes new sessions of payment's role read-only during the block."""
    await stack.execute(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        await stack.execute(f"ALTER ROLE {ROLE} RESET default_transaction_read_only")


async def end_sessions(stack: RunningStack, which: str = "true") -> None:
    """Ends sessions of payment: all, or those for which an SQL condition holds."""
    await stack.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND {which}",  # noqa: S608
        ROLE,
    )


def defects(stack: RunningStack) -> int:
    """How many calls of payment have ended with INTERNAL so far."""
    return len(stack.log_entries("payment", event="unexpected error"))


async def paid_order(stack: RunningStack) -> str:
    """An order whose calls are repeated while payment is unavailable; other errors are raised."""
    return await retry(stack.journey().paid_order, "a paid order")


async def test_orders_are_paid_through_a_failover(disruptable_stack: RunningStack) -> None:
    """First a part of the pool is lost, then all of it; new connections are read-only meanwhile.

    Callers are asked to repeat, health is NOT_SERVING, and no event becomes a dead letter.
    """
    stack, before = disruptable_stack, defects(disruptable_stack)
    async with read_only(stack):
        await end_sessions(stack, "pid % 2 = 0")
        paying = [asyncio.create_task(paid_order(stack)) for _ in range(6)]
        await end_sessions(stack)
        await wait_for_health(stack, "payment", "", "NOT_SERVING")
        with raises_rpc_error("DATABASE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE) as raised:
            await stack.journey().order()
        assert error_details(raised.value, error_details_pb2.RetryInfo)
        paying += [asyncio.create_task(paid_order(stack)) for _ in range(6)]
    await wait_for_health(stack, "payment", "", "SERVING")
    order_ids = await asyncio.gather(*paying)
    for order_id in order_ids:
        await stack.wait_for_effects(order_id, PAID)
    for service in ("payment", "interview", "notification"):
        query = f"SELECT event_type, reason FROM {service}.dead_letters WHERE key = ANY($1)"  # noqa: S608
        assert await stack.fetch_rows(query, order_ids) == []
    assert defects(stack) == before


async def test_calls_can_be_repeated_after_the_type_of_a_column_was_altered(
    disruptable_stack: RunningStack,
) -> None:
    """Statements prepared for the old type are refused once; no call is an internal error."""
    stack, before = disruptable_stack, defects(disruptable_stack)
    column = "ALTER TABLE payment.orders ALTER COLUMN customer_id TYPE"
    await asyncio.gather(*(paid_order(stack) for _ in range(8)))
    try:
        for column_type in ("varchar(200)", "text"):
            await stack.execute(f"{column} {column_type}")
            await asyncio.gather(*(paid_order(stack) for _ in range(8)))
    finally:
        await stack.execute(f"{column} text")
    assert defects(stack) == before
