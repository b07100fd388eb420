"""Asking the provider about payments without outcome: outside transactions, a few at once."""

import asyncio

import pytest

from devstack.polling import wait_until
from payment_svc.domain.orders import Order
from payment_svc.domain.payments import Cancelled, Outcome, OutcomeUnknown, Payment, PaymentStatus
from payment_svc.workers.payment_reconciliation import PaymentReconciliation
from payment_svc.workflows.payments import PaymentWorkflow
from runtime.workers import PollingWorker
from tests.fakes.payment import ADA, CODES, NOW, PRODUCT, DatabaseInMemory, InMemory

_AT_ONCE = 5


class Provider:
    """Answers when it is told to; "pay_0" it never heard rightly."""

    def __init__(self, database: DatabaseInMemory) -> None:
        self._database = database
        self.asked: list[str] = []
        self.in_transactions = 0
        self.answers = asyncio.Event()
        self.several = asyncio.Event()

    async def find(self, payment_id: str) -> Outcome:
        self.asked.append(payment_id)
        self.in_transactions += self._database.open
        if len(self.asked) == _AT_ONCE:
            self.several.set()
        await self.answers.wait()
        if payment_id == "pay_0":
            raise OSError("gone")
        return OutcomeUnknown() if payment_id == "pay_1" else Cancelled()


@pytest.fixture
async def database() -> DatabaseInMemory:
    """With the payments `pay_<n>`, each of an order of its own, without outcome."""
    uow = InMemory()
    for number in range(12):
        order = Order.place(f"ord_{number}", "cus_1", PRODUCT, ADA, NOW)
        await uow.orders.save(order)
        payment = Payment(
            payment_id=f"pay_{number}",
            order_id=order.order_id,
            amount=order.price,
            payment_method="card",
            caller="cus_1",
            request_id=str(number),
            request_hash=b"",
            created_at=NOW,
            updated_at=NOW,
            status=PaymentStatus.PROCESSING,
        )
        await uow.payments.save(payment)
    return DatabaseInMemory(uow)


@pytest.fixture
def provider(database: DatabaseInMemory) -> Provider:
    return Provider(database)


@pytest.fixture
def reconciler(database: DatabaseInMemory, provider: Provider) -> PollingWorker:
    charging = PaymentWorkflow(database, provider, CODES)  # type: ignore[arg-type]
    reconciliation = PaymentReconciliation(database, charging, 60)  # type: ignore[arg-type]
    return PollingWorker("payment reconciliation", 60, reconciliation.process_due)


async def test_a_few_payments_are_asked_about_at_once(
    reconciler: PollingWorker, provider: Provider
) -> None:
    """No more than a few, and never inside a transaction."""
    running = asyncio.create_task(reconciler.run())
    await asyncio.wait_for(provider.several.wait(), 5)
    assert (len(provider.asked), provider.in_transactions) == (_AT_ONCE, 0)
    provider.answers.set()

    async def all_asked() -> bool:
        return len(provider.asked) == 12

    await wait_until(all_asked, "all payments asked about", 5)
    reconciler.stop()
    await asyncio.wait_for(running, 5)
    assert len(set(provider.asked)) == len(provider.asked) == 12


async def test_a_payment_in_trouble_keeps_no_other_waiting(
    reconciler: PollingWorker, provider: Provider, database: DatabaseInMemory
) -> None:
    provider.answers.set()
    running = asyncio.create_task(reconciler.run())

    async def all_settled() -> bool:
        statuses = [payment.status for payment in database.uow.payments.saved.values()]
        return statuses == ["PROCESSING", "UNKNOWN", *["CANCELLED"] * 10]

    await wait_until(all_settled, "all payments settled but two", 5)
    reconciler.stop()
    await asyncio.wait_for(running, 5)


async def test_when_stopped_it_ends_after_the_payments_in_hand(
    reconciler: PollingWorker, provider: Provider
) -> None:
    running = asyncio.create_task(reconciler.run())
    await asyncio.wait_for(provider.several.wait(), 5)
    reconciler.stop()
    provider.answers.set()
    await asyncio.wait_for(running, 5)
    assert len(provider.asked) == _AT_ONCE
