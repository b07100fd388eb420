"""Provider notifications in PostgreSQL: unknown kinds, dismissals, and what needs an operator."""

from dataclasses import replace

import pytest

from payment_svc.domain.payments import Captured
from payment_svc.domain.provider_notifications import Dismissal, ProviderNotification
from payment_svc.workers.settlement_metrics import SettlementMetrics
from runtime.metrics.registry import Metrics
from tests.builders.payment import NOW, PRICE, make_notification
from tests.integration.drivers.databases import ServiceDatabase

DISPUTE = replace(make_notification(Captured(PRICE)), kind="dispute.created", outcome=None)
PAYOUT = replace(DISPUTE, kind="payout.paid", payment_id="", order_id="", amount=None)
DISMISSAL = Dismissal(NOW, "operator:mei", "settled with the provider")


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


def quarantined(number: int) -> ProviderNotification:
    notification = replace(
        PAYOUT, provider_notification_id=f"pnt_{number}", digest=str(number).encode()
    )
    notification.quarantine_unknown_kind()
    return notification


async def test_a_dismissal_is_stored_and_survives_a_further_delivery(
    payment: ServiceDatabase,
) -> None:
    async with payment.transactions.transaction() as uow:
        await uow.notifications.store(quarantined(1))
    async with payment.transactions.transaction() as uow:
        notification = await uow.notifications.get("pnt_1")
        notification.dismiss(DISMISSAL)
        await uow.notifications.save(notification)
    async with payment.transactions.transaction() as uow:
        again = await uow.notifications.store(quarantined(1))
    assert (again.dismissal, again.deliveries) == (DISMISSAL, 2)
    assert (again.status, again.quarantine_reason) == ("QUARANTINED", "UNKNOWN_KIND")


async def test_metrics_status_and_list_have_those_that_need_an_operator(
    payment: ServiceDatabase,
) -> None:
    """One is not processed yet, one is dismissed, and two wait for an operator."""
    received = replace(PAYOUT, provider_notification_id="pnt_0", digest=b"received")
    dismissed = quarantined(1)
    dismissed.dismiss(DISMISSAL)
    async with payment.transactions.transaction() as uow:
        for notification in (received, dismissed, quarantined(2), quarantined(3)):
            await uow.notifications.store(notification)
    async with payment.transactions.read_only() as uow:
        status = await uow.settlement.read(NOW)
        page = await uow.notifications.page("", "", 10, unresolved_only=True)
    assert status.notifications.count == 2
    assert status.notifications.oldest_seconds > 0
    assert [found.provider_notification_id for found in page] == ["pnt_3", "pnt_2"]
    metrics = Metrics()
    await SettlementMetrics(payment.transactions, metrics).update()
    name = "mockinterview_payment_notifications_quarantined"
    assert metrics.registry.get_sample_value(name) == 2
    assert (metrics.registry.get_sample_value(f"{name}_oldest_age_seconds") or 0) > 0
