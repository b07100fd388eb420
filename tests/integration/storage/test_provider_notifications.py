"""Provider notifications in PostgreSQL: unknown kinds, and the count of quarantined ones."""

from dataclasses import replace

import pytest

from payment_svc.domain.payments import Captured
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.workers.quarantine_report import QuarantineReport
from runtime.ops.metrics import Metrics
from tests.builders.payment import PRICE, make_notification
from tests.integration.storage.conftest import ServiceDatabase

DISPUTE = replace(make_notification(Captured(PRICE)), kind="dispute.created", outcome=None)
PAYOUT = replace(DISPUTE, kind="payout.paid", payment_id="", order_id="", amount=None)


@pytest.mark.parametrize("notification", [make_notification(Captured(PRICE)), DISPUTE, PAYOUT])
async def test_a_notification_is_stored_as_it_is(
    payment: ServiceDatabase, notification: ProviderNotification
) -> None:
    notification = replace(notification)
    notification.quarantine_unknown_kind()
    async with payment.transactions.transaction() as uow:
        stored = await uow.notifications.store(notification)
    async with payment.transactions.transaction() as uow:
        assert stored == notification == await uow.notifications.get("pnt_1")


async def test_the_metric_counts_the_quarantined_notifications(payment: ServiceDatabase) -> None:
    metrics = Metrics()
    report = QuarantineReport(payment.transactions, metrics)
    async with payment.transactions.transaction() as uow:
        await uow.notifications.store(
            replace(PAYOUT, provider_notification_id="pnt_2", digest=b"received")
        )
        quarantined = replace(PAYOUT)
        quarantined.quarantine_unknown_kind()
        await uow.notifications.store(quarantined)
    await report.run_round()
    name = "mockinterview_payment_notifications_quarantined"
    assert metrics.registry.get_sample_value(name) == 1
