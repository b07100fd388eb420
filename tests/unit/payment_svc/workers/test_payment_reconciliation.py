"""Payment reconciliation: outside transactions, with limited concurrency."""

import asyncio

import pytest

from devstack.polling import wait_until
from payment_svc.domain.payments import Cancelled, Outcome, OutcomeUnknown
from payment_svc.workers.payment_reconciliation import PaymentReconciliation
from payment_svc.workflows.payments import PaymentWorkflow
from runtime.workers import PollingWorker
from tests.builders.payment import ACCESS_CODE_FACTORY, make_order, make_payment
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

_CONCURRENCY = 5


class Provider:
    """Responds when `respond` is set; the query of "pay_0" fails, "pay_1" stays unknown."""

    def __init__(self, database: InMemoryDatabase) -> None:
        self._database = database
        self.queried: list[str] = []
        self.in_transactions = 0
        self.respond = asyncio.Event()
        self.concurrency_reached = asyncio.Event()

    async def get_charge(self, payment_id: str) -> Outcome:
        self.queried.append(payment_id)
        self.in_transactions += self._database.open
        if len(self.queried) == _CONCURRENCY:
            self.concurrency_reached.set()
        await self.respond.wait()
        if payment_id == "pay_0":
            raise OSError("gone")
        return OutcomeUnknown() if payment_id == "pay_1" else Cancelled()


@pytest.fixture
async def database() -> InMemoryDatabase:
    """With the open payments `pay_<n>` of the orders `ord_<n>`."""
    uow = InMemoryUnitOfWork()
    for number in range(12):
        await uow.orders.save(make_order(order_id=f"ord_{number}"))
        payment = make_payment(payment_id=f"pay_{number}", order_id=f"ord_{number}")
        await uow.payments.save(payment)
    return InMemoryDatabase(uow)


@pytest.fixture
def provider(database: InMemoryDatabase) -> Provider:
    return Provider(database)


@pytest.fixture
def worker(database: InMemoryDatabase, provider: Provider) -> PollingWorker:
    workflow = PaymentWorkflow(database, provider, ACCESS_CODE_FACTORY)  # type: ignore[arg-type]
    reconciliation = PaymentReconciliation(database, workflow, 60)  # type: ignore[arg-type]
    return PollingWorker("payment reconciliation", 60, reconciliation.process_due)


async def test_a_limited_number_of_payments_is_queried_concurrently(
    worker: PollingWorker, provider: Provider
) -> None:
    """And never inside a transaction."""
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(provider.concurrency_reached.wait(), 5)
    assert (len(provider.queried), provider.in_transactions) == (_CONCURRENCY, 0)
    provider.respond.set()

    async def all_queried() -> bool:
        return len(provider.queried) == 12

    await wait_until(all_queried, "all payments are queried", 5)
    worker.stop()
    await asyncio.wait_for(running, 5)
    assert len(set(provider.queried)) == len(provider.queried) == 12


async def test_a_failing_payment_does_not_delay_others(
    worker: PollingWorker, provider: Provider, database: InMemoryDatabase
) -> None:
    provider.respond.set()
    running = asyncio.create_task(worker.run())

    async def all_settled() -> bool:
        statuses = [payment.status for payment in database.uow.payments.saved.values()]
        return statuses == ["PROCESSING", "UNKNOWN", *["CANCELLED"] * 10]

    await wait_until(all_settled, "all payments but two are settled", 5)
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_a_stopped_worker_completes_the_present_group(
    worker: PollingWorker, provider: Provider
) -> None:
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(provider.concurrency_reached.wait(), 5)
    worker.stop()
    provider.respond.set()
    await asyncio.wait_for(running, 5)
    assert len(provider.queried) == _CONCURRENCY
