"""Which claims of mails are released: those of processes that are gone, and no others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.exc import DBAPIError

from notification_svc.use_cases.sending import ClaimNotifications, claim_notifications
from notification_svc.workers.claim_holder import ClaimHolder
from tests.integration.notification_svc.mailing import HOUR, IDS, Mailing


@asynccontextmanager
async def holder(mailing: Mailing, grace_seconds: float = 0.0) -> AsyncIterator[ClaimHolder]:
    """The claim holder of a process with an engine of its own."""
    engine = mailing.schema.new_engine()
    claim_holder = ClaimHolder(engine, mailing.database, lambda: None, grace_seconds)
    try:
        await claim_holder.begin()
        yield claim_holder
    finally:
        await claim_holder._disconnect()
        await engine.dispose()


async def claim(mailing: Mailing, claim_holder: ClaimHolder) -> None:
    """A mail that the process has claimed for an hour."""
    await mailing.queue("ord_1")
    assert claim_holder.number is not None
    async with mailing.database.transaction() as uow:
        command = ClaimNotifications(1, HOUR, claim_holder.number)
        assert await claim_notifications(command, uow, ids=IDS, now=await uow.clock())


async def is_due(mailing: Mailing) -> bool:
    return bool(
        await mailing.schema.value("SELECT due_at <= now() FROM notification.notifications")
    )


async def disconnect(mailing: Mailing, claim_holder: ClaimHolder) -> None:
    """PostgreSQL ends the session that holds the lock, as a restart would."""
    ended = await mailing.schema.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        " AND objid::bigint = :number",
        number=claim_holder.number,
    )
    assert len(ended) == 1


async def test_claims_of_a_process_that_is_gone_are_released(mailing: Mailing) -> None:
    async with holder(mailing) as observer:
        async with holder(mailing) as gone:
            await claim(mailing, gone)
        await observer._run_round()
        assert await is_due(mailing)


async def test_claims_of_a_process_that_runs_are_not_released(mailing: Mailing) -> None:
    async with holder(mailing) as observer, holder(mailing) as other:
        await claim(mailing, other)
        await observer._run_round()
        await other._run_round()
        assert not await is_due(mailing)


async def test_claims_are_kept_while_a_process_connects_again(mailing: Mailing) -> None:
    """For the grace period, in which it takes its lock again."""
    async with holder(mailing, grace_seconds=3600) as observer, holder(mailing) as other:
        await claim(mailing, other)
        await disconnect(mailing, other)
        await observer._run_round()
        assert list(observer._gone_since) == [other.number]
        with pytest.raises(DBAPIError):
            await other._run_round()
        assert other.number is None
        await other._run_round()
        await observer._run_round()
        assert observer._gone_since == {}
        assert not await is_due(mailing)


async def test_the_grace_period_starts_again_if_the_observer_was_disconnected(
    mailing: Mailing,
) -> None:
    """Both may have been: a process that could not see the others knows nothing about them."""
    async with holder(mailing, grace_seconds=3600) as observer:
        async with holder(mailing) as gone:
            await claim(mailing, gone)
        await observer._run_round()
        assert observer._gone_since
        await disconnect(mailing, observer)
        with pytest.raises(DBAPIError):
            await observer._run_round()
        assert observer._gone_since == {}


async def test_a_process_leaves_a_server_that_was_demoted(mailing: Mailing) -> None:
    """Its lock there is unknown to the new primary, where the others look."""
    async with holder(mailing) as one:
        assert one._connection is not None
        await one._connection.exec_driver_sql(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
        )
        await one._run_round()
        assert one.number is None
        await one._run_round()
        assert one.number is not None


async def test_the_lock_takes_no_connection_from_the_pool(mailing: Mailing) -> None:
    async with holder(mailing) as one:
        assert one._engine.pool.checkedout() == 0  # type: ignore[attr-defined]
