"""What repairs delete and announce: only what they name, and only once."""

import asyncio
from collections.abc import Sequence

from interview_svc.use_cases.code_updates import apply_code_updates
from runtime.ids import new_id
from tests.builders.interview import NOW, payment_completed, session_factory
from tests.fakes.clock import at
from tests.integration.drivers.databases import ServiceDatabase


async def prepare(schema: ServiceDatabase, orders: Sequence[int]) -> None:
    """Handles PaymentCompleted of orders, as one replica does."""
    updates = [payment_completed(order) for order in orders]
    factory = session_factory(lambda: new_id("ses"))
    async with schema.transactions.transaction() as uow:
        await apply_code_updates(updates, uow, factory=factory, clock=at(NOW))


async def column(schema: ServiceDatabase, query: str) -> list[str]:
    return [row[0] for row in await schema.execute(query)]


async def test_deleting_sessions_deletes_no_others(schema: ServiceDatabase) -> None:
    await prepare(schema, [1, 2, 3])
    async with schema.transactions.transaction() as uow:
        sessions = await uow.sessions.get_many(["ord_2"])
        await uow.sessions.delete_many([sessions["ord_2"].session_id])
    query = "SELECT order_id FROM interview.sessions ORDER BY order_id"
    assert await column(schema, query) == ["ord_1", "ord_3"]


async def test_deleting_cached_codes_deletes_no_others(schema: ServiceDatabase) -> None:
    await prepare(schema, [1, 2, 3])
    async with schema.transactions.transaction() as uow:
        await uow.cached_codes.delete_many(["ord_1", "ord_3"])
    assert await column(schema, "SELECT order_id FROM interview.cached_codes") == ["ord_2"]


async def test_changing_one_session_changes_no_other(schema: ServiceDatabase) -> None:
    await prepare(schema, [1, 2])
    async with schema.transactions.transaction() as uow:
        session = (await uow.sessions.get_many(["ord_1"]))["ord_1"]
        session.cancel_orphaned(NOW)
        await uow.sessions.save_many([session])
    query = "SELECT status FROM interview.sessions ORDER BY order_id"
    assert await column(schema, query) == ["CANCELLED", "PREPARED"]


async def test_two_replicas_that_prepare_one_order_announce_one_session(
    schema: ServiceDatabase,
) -> None:
    """The second one has found no session before the first one committed."""
    await asyncio.gather(*(prepare(schema, [1, 2]) for _ in range(4)))
    query = "SELECT order_id FROM interview.sessions ORDER BY order_id"
    assert await column(schema, query) == ["ord_1", "ord_2"]
    announced = "SELECT key FROM interview.outbox WHERE type = 'interview.v1.SessionPrepared'"
    assert sorted(await column(schema, announced)) == ["ord_1", "ord_2"]


async def test_a_session_that_another_replica_added_is_not_announced_again(
    schema: ServiceDatabase,
) -> None:
    """The race of two inserts without the lock on the cached code, in a fixed order."""
    await prepare(schema, [1])
    async with schema.transactions.transaction() as uow:
        [stored] = (await uow.sessions.get_many(["ord_1"])).values()
        update = payment_completed(1)
        assert update.holder is not None
        cached = (await uow.cached_codes.get_many(["ord_1"]))["ord_1"]
        second = session_factory(lambda: new_id("ses")).create(cached, update.holder, NOW)
        assert await uow.sessions.add_many([second]) == set()
    query = "SELECT session_id FROM interview.sessions"
    assert await column(schema, query) == [stored.session_id]
    announced = "SELECT count(*) FROM interview.outbox"
    assert await schema.value(announced) == 1
