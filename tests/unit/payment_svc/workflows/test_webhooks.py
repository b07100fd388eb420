"""Intake of the provider's notifications: all signed ones are stored."""

from collections.abc import Mapping
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from payment_svc.domain.payments import Captured, PaymentStatus
from payment_svc.gateways import WebhookPayload
from payment_svc.workflows.webhooks import WebhookIntake
from tests.builders.payment import PRICE, make_order, make_payment
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

CHARGEBACK = WebhookPayload("CHARGED_BACK", "pay_1", "ord_1", PRICE, None)
PAYOUT = WebhookPayload("payout.paid", "", "", None, None)
CAPTURE = WebhookPayload("CAPTURED", "pay_1", "ord_1", PRICE, Captured(PRICE))


class Provider:
    """Parses every body to `payload`."""

    payload = CHARGEBACK

    def parse_webhook(
        self, _body: bytes, _headers: Mapping[str, str], _now: datetime
    ) -> WebhookPayload:
        return self.payload


@pytest.fixture
async def uow() -> InMemoryUnitOfWork:
    """With a payment that succeeded."""
    uow = InMemoryUnitOfWork()
    await uow.orders.save(make_order())
    await uow.payments.save(make_payment(PaymentStatus.SUCCEEDED))
    return uow


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def intake(uow: InMemoryUnitOfWork, provider: Provider) -> WebhookIntake:
    return WebhookIntake(InMemoryDatabase(uow), provider, lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("payload", [CHARGEBACK, PAYOUT])
async def test_a_notification_of_an_unknown_kind_is_quarantined_and_logged_once(
    intake: WebhookIntake, uow: InMemoryUnitOfWork, provider: Provider, payload: WebhookPayload
) -> None:
    """It changes no payment, and its repeat is accepted again."""
    provider.payload = payload
    with capture_logs() as logs:
        stored, payment = await intake.ingest(b"body", {})
        again, _ = await intake.ingest(b"body", {})
    assert (stored.status, stored.quarantine_reason) == ("QUARANTINED", "UNKNOWN_KIND")
    assert (stored.kind, stored.amount, stored.body) == (payload.kind, payload.amount, b"body")
    assert (again.provider_notification_id, again.deliveries) == (
        stored.provider_notification_id,
        2,
    )
    assert payment == uow.payments.saved.get(payload.payment_id)
    assert uow.payments.saved["pay_1"] == make_payment(PaymentStatus.SUCCEEDED)
    [log] = logs
    assert (log["event"], log["log_level"]) == ("notification quarantined", "warning")
    assert (log["kind"], log["reason"]) == (payload.kind, "UNKNOWN_KIND")


async def test_a_notification_of_a_known_kind_is_received(
    intake: WebhookIntake, provider: Provider
) -> None:
    provider.payload = CAPTURE
    with capture_logs() as logs:
        stored, _ = await intake.ingest(b"body", {})
    assert (stored.status, stored.kind, logs) == ("RECEIVED", "CAPTURED", [])
