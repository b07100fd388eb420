"""Promises about repeated requests: for how long replies are kept, and how they are dropped."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import Table, event, func, insert, select

from payment.v1 import payment_service_pb2
from runtime.database.idempotency import IdempotencyStore, define_table
from tests.integration.drivers.bus import ROLE, Bus

Reply = TypeVar(
    "Reply", payment_service_pb2.CancelOrderResponse, payment_service_pb2.GetOrderResponse
)


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


async def test_a_reply_belongs_to_its_caller_and_method(bus: Bus, table: Table) -> None:
    """The same request id with the same body, by another caller, is another request."""
    store = IdempotencyStore(table, bus.engine)
    request = payment_service_pb2.CancelOrderRequest(request_id="r", order_id="ord_1")
    runs = 0

    async def answered(caller: str, reply: type[Reply]) -> Reply:
        async def work() -> Reply:
            nonlocal runs
            runs += 1
            return reply(order=payment_service_pb2.Order(order_id=f"run {runs}"))

        async with bus.engine.begin() as connection:
            return await store.run_once(connection, caller, request, reply, work)

    keys = [
        ("operator:mei", payment_service_pb2.CancelOrderResponse),
        ("operator:lan", payment_service_pb2.CancelOrderResponse),
        ("customer:mei", payment_service_pb2.CancelOrderResponse),
        ("operator:mei", payment_service_pb2.GetOrderResponse),
    ]
    first = [(await answered(*key)).order.order_id for key in keys]
    again = [(await answered(*key)).order.order_id for key in keys]
    assert first == again == ["run 1", "run 2", "run 3", "run 4"]
    async with bus.engine.connect() as connection:
        found = [await store.find(connection, caller, request, reply) for caller, reply in keys]
        stranger = await store.find(connection, "operator:li", request, keys[0][1])
    assert [reply.order.order_id for reply in found if reply] == first
    assert stranger is None
