"""Processing of the provider's notifications: failures are retried after growing delays."""

import pytest

from payment_svc.domain.payments import Captured, Declined, Outcome, OutcomeUnknown, PaymentStatus
from payment_svc.workers.webhook_processing import WebhookProcessing
from payment_svc.workflows.payments import PaymentWorkflow
from tests.builders.payment import (
    ACCESS_CODE_FACTORY,
    PRICE,
    make_notification,
    make_order,
    make_payment,
)
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork


class Provider:
    """Responds to queries with `outcome`."""

    outcome: Outcome = OutcomeUnknown()

    async def get_charge(self, _payment_id: str) -> Outcome:
        return self.outcome


@pytest.fixture
async def uow() -> InMemoryUnitOfWork:
    """With a declined payment, and a notification of its capture, which has to be confirmed."""
    uow = InMemoryUnitOfWork()
    await uow.orders.save(make_order())
    await uow.payments.save(make_payment(PaymentStatus.FAILED))
    await uow.notifications.store(make_notification(Captured(PRICE)))
    return uow


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def processing(uow: InMemoryUnitOfWork, provider: Provider) -> WebhookProcessing:
    database = InMemoryDatabase(uow)
    payments = PaymentWorkflow(database, provider, ACCESS_CODE_FACTORY)  # type: ignore[arg-type]
    return WebhookProcessing(database, payments, ACCESS_CODE_FACTORY)  # type: ignore[arg-type]


async def test_a_notification_whose_processing_fails_waits_longer_each_time(
    processing: WebhookProcessing, uow: InMemoryUnitOfWork
) -> None:
    """Half a second, doubled up to a minute; jitter shortens each delay by up to half."""
    for _ in range(10):
        assert await processing.process_due()
    longest = [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    delays = [delay.total_seconds() for delay in uow.notifications.delays["pnt_1"]]
    assert [most / 2 <= delay <= most for delay, most in zip(delays, longest, strict=True)] == [
        True
    ] * 10
    assert uow.notifications.saved["pnt_1"].status == "RECEIVED"


async def test_a_notification_is_processed_after_failures(
    processing: WebhookProcessing, uow: InMemoryUnitOfWork, provider: Provider
) -> None:
    await processing.process_due()
    provider.outcome = Declined("no funds")
    await processing.process_due()
    assert uow.notifications.saved["pnt_1"].status == "QUARANTINED"
    assert not await processing.process_due()
