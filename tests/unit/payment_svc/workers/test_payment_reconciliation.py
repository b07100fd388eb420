"""Asking the provider about payments without outcome: outside transactions, a few at once."""

import asyncio

import pytest

from payment_svc.domain.orders import Order
from payment_svc.domain.payments import Cancelled, Outcome, OutcomeUnknown, Payment, PaymentStatus
from payment_svc.workflows import PaymentReconciliation, PaymentWorkflow
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
def reconciler(database: DatabaseInMemory, provider: Provider) -> PaymentReconciliation:
    charging = PaymentWorkflow(database, provider, CODES)  # type: ignore[arg-type]
    return PaymentReconciliation(database, charging, 60, 60)  # type: ignore[arg-type]


async def test_a_few_payments_are_asked_about_at_once(
    reconciler: PaymentReconciliation, provider: Provider
) -> None:
    """No more than a few, and never inside a transaction."""
    running = asyncio.create_task(reconciler.reconcile())
    await asyncio.wait_for(provider.several.wait(), 5)
    assert (len(provider.asked), provider.in_transactions) == (_AT_ONCE, 0)
    provider.answers.set()
    await asyncio.wait_for(running, 5)
    assert len(set(provider.asked)) == len(provider.asked) == 12


async def test_a_payment_in_trouble_keeps_no_other_waiting(
    reconciler: PaymentReconciliation, provider: Provider, database: DatabaseInMemory
) -> None:
    provider.answers.set()
    await reconciler.reconcile()
    statuses = [payment.status for payment in database.uow.payments.saved.values()]
    assert statuses == ["PROCESSING", "UNKNOWN", *["CANCELLED"] * 10]


async def test_when_stopped_it_ends_after_the_payments_in_hand(
    reconciler: PaymentReconciliation, provider: Provider
) -> None:
    running = asyncio.create_task(reconciler.run())
    await asyncio.wait_for(provider.several.wait(), 5)
    reconciler.stop()
    provider.answers.set()
    await asyncio.wait_for(running, 5)
    assert len(provider.asked) == _AT_ONCE
