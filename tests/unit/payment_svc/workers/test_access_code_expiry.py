"""Expiry of access codes by the database's clock."""

from payment_svc.workers.access_code_expiry import AccessCodeExpiry
from tests.builders.payment import CODE_EXPIRE_AT, INSTANT, make_access_code
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork


async def test_codes_expire_by_the_clock_of_the_database() -> None:
    """A process whose own clock is fast expires nothing early."""
    uow = InMemoryUnitOfWork()
    uow.now = CODE_EXPIRE_AT - INSTANT
    await uow.access_codes.save_many([make_access_code()])
    worker = AccessCodeExpiry(InMemoryDatabase(uow))  # type: ignore[arg-type]
    await worker.run_round()
    assert uow.access_codes.saved["acc_1"].status == "ACTIVE"
    uow.now = CODE_EXPIRE_AT
    await worker.run_round()
    assert uow.access_codes.saved["acc_1"].status == "EXPIRED"
