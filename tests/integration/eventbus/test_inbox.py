"""Claims of several events are safe beside each other."""

import asyncio

from sqlalchemy import text

from devstack.polling import wait_until
from eventbus.inbox import Inbox, Mark
from tests.integration.drivers.bus import Bus


async def test_a_claim_may_have_more_events_than_a_statement_has_parameters(bus: Bus) -> None:
    """A statement has at most 32767."""
    ids = {f"evt_{number}" for number in range(33_000)}
    async with bus.engine.begin() as connection:
        claimed = await Inbox(bus.tables, bus.durable).claim(
            connection, [Mark(event_id, "", 1) for event_id in ids]
        )
    assert claimed == ids


async def test_a_claim_takes_events_in_the_order_of_their_ids(bus: Bus) -> None:
    """Two replicas that claim the same events in different orders would deadlock otherwise.

    A claim of c, b and a that waits for b has a, and has not c.
    """
    inbox = Inbox(bus.tables, bus.durable)

    async def claim(*ids: str) -> set[str]:
        async with bus.engine.begin() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            return await inbox.claim(connection, [Mark(event_id, "", 1) for event_id in ids])

    async def is_waiting() -> bool:
        async with bus.superuser.connect() as connection:
            statement = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(await connection.scalar(statement))

    async with bus.engine.connect() as holder:
        await inbox.claim(holder, [Mark("b", "", 1)])
        waiting = asyncio.create_task(claim("c", "b", "a"))
        await wait_until(is_waiting, "the claim waits for b")
        assert await claim("c") == {"c"}
        await holder.rollback()
    assert await waiting == {"a", "b"}
