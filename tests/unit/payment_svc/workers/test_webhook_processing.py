"""Processing of the provider's notifications: failures are retried after growing delays.

An outage of the database is not a failure of the notification.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

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
from tests.fakes.payment import InMemoryProviderNotifications, InMemoryUnitOfWork


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


class FailingNotifications(InMemoryProviderNotifications):
    """One due notification, which cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.postponed: list[str] = []

    async def get(self, _notification_id: str) -> Any:
        raise self._error

    async def find_due(self, _limit: int) -> Mapping[str, int]:
        return {"pnt_1": 0}

    async def postpone(self, notification_id: str, _delay: timedelta) -> None:
        self.postponed.append(notification_id)


@pytest.mark.parametrize(
    ("error", "goes_on", "postponed"),
    [(ValueError("a defect"), True, ["pnt_1"]), (ConnectionResetError(), False, [])],
    ids=["defect", "outage of the database"],
)
async def test_only_a_failure_of_the_notification_itself_is_counted(
    error: Exception, goes_on: bool, postponed: list[str]
) -> None:
    """After an outage it is due at once; the worker pauses before the next round."""
    uow: Any = InMemoryUnitOfWork()
    uow.notifications = FailingNotifications(error)
    database: Any = InMemoryDatabase(uow)
    payments: Any = None  # not reached
    worker = WebhookProcessing(database, payments, ACCESS_CODE_FACTORY)
    assert await worker.process_due() is goes_on
    assert uow.notifications.postponed == postponed
