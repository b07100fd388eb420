"""Expiry of sessions by the database's clock."""

from datetime import timedelta

from interview_svc.workers.session_expiry import SessionExpiry
from tests.builders.interview import EXPIRE_AT, prepared_order
from tests.fakes.database import InMemoryDatabase


async def test_a_session_expires_by_the_clock_of_the_database() -> None:
    """A process whose own clock is fast expires no session early."""
    uow = await prepared_order()
    uow.now = EXPIRE_AT - timedelta(microseconds=1)
    worker = SessionExpiry(InMemoryDatabase(uow))  # type: ignore[arg-type]
    await worker.run_round()
    assert uow.sessions.saved["ord_1"].status == "PREPARED"
    uow.now = EXPIRE_AT
    await worker.run_round()
    assert uow.sessions.saved["ord_1"].status == "EXPIRED"
