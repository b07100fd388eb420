"""The intake of notifications by the provider: verified, stored once, and the worker is woken."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from payment_svc.domain.payments import Captured
from payment_svc.gateways.port import SignatureInvalid, WebhookPayload
from payment_svc.workflows.webhooks import WebhookIntake
from tests.builders.payment import PRICE, make_payment
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

BODY = b"a notification"
SIGNED = {"signature": "valid"}


class Gateway:
    """Accepts one header; every body is about captured money of `pay_1`."""

    def parse_webhook(
        self, body: bytes, headers: Mapping[str, str], now: datetime
    ) -> WebhookPayload:
        assert body == BODY
        assert now.tzinfo is not None
        if headers != SIGNED:
            raise SignatureInvalid
        return WebhookPayload("payment.captured", "pay_1", "ord_1", PRICE, Captured(PRICE))


class Worker:
    """Notes what was stored when it was woken."""

    def __init__(self, database: InMemoryDatabase) -> None:
        self._database, self.seen = database, list[int]()

    def wake(self) -> None:
        assert not self._database.open, "the worker is woken before the commit"
        self.seen.append(len(self._database.uow.notifications.saved))


@pytest.fixture
def database() -> InMemoryDatabase:
    return InMemoryDatabase(InMemoryUnitOfWork())


@pytest.fixture
def worker(database: InMemoryDatabase) -> Worker:
    return Worker(database)


@pytest.fixture
def intake(database: InMemoryDatabase, worker: Worker) -> WebhookIntake:
    return WebhookIntake(database, Gateway(), worker.wake)  # type: ignore[arg-type]


async def test_a_signed_notification_is_stored_before_the_worker_is_woken(
    database: InMemoryDatabase, worker: Worker, intake: WebhookIntake
) -> None:
    before = datetime.now(UTC)
    stored, payment = await intake.ingest(BODY, SIGNED)
    assert worker.seen == [1]
    assert database.uow.notifications.saved == {stored.provider_notification_id: stored}
    assert stored.provider_notification_id.startswith("pnt_")
    assert stored.kind == "payment.captured"
    assert (stored.payment_id, stored.order_id) == ("pay_1", "ord_1")
    assert (stored.amount, stored.outcome) == (PRICE, Captured(PRICE))
    assert (stored.body, stored.digest) == (BODY, hashlib.sha256(BODY).digest())
    assert before <= stored.received_at <= datetime.now(UTC)
    assert payment is None


async def test_it_is_returned_with_its_payment(
    database: InMemoryDatabase, intake: WebhookIntake
) -> None:
    await database.uow.payments.save(make_payment())
    _, payment = await intake.ingest(BODY, SIGNED)
    assert payment == make_payment()


async def test_a_repeated_notification_is_stored_once(
    database: InMemoryDatabase, intake: WebhookIntake
) -> None:
    first, _ = await intake.ingest(BODY, SIGNED)
    again, _ = await intake.ingest(BODY, SIGNED)
    assert again.provider_notification_id == first.provider_notification_id
    assert len(database.uow.notifications.saved) == 1


async def test_an_unsigned_notification_is_not_stored(
    database: InMemoryDatabase, worker: Worker, intake: WebhookIntake
) -> None:
    with pytest.raises(SignatureInvalid):
        await intake.ingest(BODY, {})
    assert (database.uow.notifications.saved, worker.seen) == ({}, [])
