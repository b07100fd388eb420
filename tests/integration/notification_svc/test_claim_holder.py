"""Which claims of mails are released: those of processes that are gone, and no others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from devstack.stack import Stack
from notification_svc.domain.notifications import ClaimLost, NotificationStatus
from notification_svc.domain.outcomes import Refused
from notification_svc.use_cases.sending import (
    ClaimNotifications,
    RecordOutcome,
    claim_notifications,
    record_outcome,
)
from notification_svc.workers.claim_holder import ClaimHolder
from tests.integration.drivers.bus import engine_for
from tests.integration.drivers.concurrency import run_concurrently
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
    assert claim_holder.holder_id is not None
    async with mailing.database.transaction() as uow:
        command = ClaimNotifications(1, HOUR, claim_holder.holder_id)
        assert await claim_notifications(command, uow, ids=IDS, now=await uow.clock())


async def is_due(mailing: Mailing) -> bool:
    return bool(
        await mailing.schema.value("SELECT due_at <= now() FROM notification.notifications")
    )


async def disconnect(mailing: Mailing, claim_holder: ClaimHolder) -> None:
    """PostgreSQL ends the session of the holder, as a restart would."""
    ended = await mailing.schema.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM notification.claim_holders"
        " WHERE holder_id = :holder",
        holder=claim_holder.holder_id,
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
    """For the grace period, in which it records its new session."""
    async with holder(mailing, grace_seconds=3600) as observer, holder(mailing) as other:
        await claim(mailing, other)
        await disconnect(mailing, other)
        await observer._run_round()
        assert list(observer._gone_since) == [other.holder_id]
        with pytest.raises(DBAPIError):
            await other._run_round()
        assert other.holder_id is None
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
    """Its session there is unknown to the new primary, where the others look."""
    async with holder(mailing) as one:
        assert one._connection is not None
        await one._connection.exec_driver_sql(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
        )
        await one._run_round()
        assert one.holder_id is None
        await one._run_round()
        assert one.holder_id is not None


async def test_the_session_takes_no_connection_from_the_pool(mailing: Mailing) -> None:
    async with holder(mailing) as one:
        assert one._engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_process_that_is_gone_leaves_no_row(mailing: Mailing) -> None:
    async with holder(mailing) as observer:
        async with holder(mailing):
            pass
        await observer._run_round()
        remaining = await mailing.schema.execute("SELECT holder_id FROM notification.claim_holders")
        assert [row.holder_id for row in remaining] == [observer.holder_id]


async def test_a_process_whose_row_was_deleted_records_it_again(mailing: Mailing) -> None:
    """Another process took its claims over while it connected again."""
    async with holder(mailing) as observer, holder(mailing, grace_seconds=3600) as other:
        await claim(mailing, other)
        await mailing.schema.execute(
            "DELETE FROM notification.claim_holders WHERE holder_id = :holder RETURNING 1",
            holder=other.holder_id,
        )
        await other._run_round()
        await observer._run_round()
        assert not await is_due(mailing)


async def test_a_process_holds_no_lock_that_another_role_can_take(mailing: Mailing) -> None:
    """With it, the other role would make the process look alive, or gone."""
    async with holder(mailing):
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert await mailing.schema.value(locks) == 0


async def test_a_session_of_another_role_does_not_show_that_a_process_runs(
    mailing: Mailing, migrated_stack: Stack
) -> None:
    other = engine_for(migrated_stack.database_url("interview_runtime"))
    async with other.connect() as connection, holder(mailing) as observer:
        session = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        pid, backend_start = (await connection.execute(text(session))).one()
        async with holder(mailing) as gone:
            await claim(mailing, gone)
        await mailing.schema.execute(
            "UPDATE notification.claim_holders SET pid = :pid, backend_start = :backend_start"
            " WHERE holder_id <> :observer RETURNING 1",
            pid=pid,
            backend_start=backend_start,
            observer=observer.holder_id,
        )
        await observer._run_round()
        assert await is_due(mailing)
        with pytest.raises(DBAPIError, match="permission denied"):
            await connection.execute(text("SELECT FROM notification.claim_holders"))
    await other.dispose()


async def test_with_a_process_that_is_gone_no_claims_of_others_are_released(
    mailing: Mailing,
) -> None:
    async with holder(mailing) as observer, holder(mailing) as running:
        await claim(mailing, running)
        async with holder(mailing) as gone:
            assert gone.holder_id is not None
        await observer._run_round()
        assert not await is_due(mailing)


async def test_an_outcome_that_arrives_during_a_takeover_is_not_that_of_the_new_attempt(
    mailing: Mailing,
) -> None:
    async with holder(mailing) as slow:
        await claim(mailing, slow)
    await mailing.schema.execute("UPDATE notification.notifications SET due_at = now()")
    [mail] = await mailing.mails("ord_1")

    async def take_over(uow: Any) -> object:
        command = ClaimNotifications(1, HOUR)
        return await claim_notifications(command, uow, ids=IDS, now=await uow.clock())

    async def record(uow: Any) -> object:
        command = RecordOutcome(mail.notification_id, 1, Refused("554 spam"))
        now = await uow.clock()
        return await record_outcome(command, uow, delay=lambda _: HOUR, ids=IDS, now=now)

    with pytest.raises(ClaimLost):
        await run_concurrently(mailing.schema, take_over, record)
    [mail] = await mailing.mails("ord_1")
    assert (mail.status, mail.attempts) == (NotificationStatus.SENDING, 2)
