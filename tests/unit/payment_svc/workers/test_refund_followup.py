"""Follow-up of refunds: repeated requests to interview."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from payment_svc.domain.refunds import Refund
from payment_svc.workers.refund_followup import RefundFollowup
from runtime.metrics.registry import Metrics
from tests.builders.payment_states import given_refunds
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

NOW = datetime.now(UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def database() -> InMemoryDatabase:
    return InMemoryDatabase(InMemoryUnitOfWork())


async def test_a_failing_repeat_does_not_delay_others(
    database: InMemoryDatabase,
) -> None:
    """And a recent request is not repeated."""
    old = NOW - timedelta(hours=1)
    await given_refunds(database.uow, 3, full=True, released_at=None, asks=1, asked_at=old)
    del database.uow.orders.saved["ord_0"]
    database.uow.refunds.saved["ref_2"].asked_at = datetime.now(UTC)
    followup = RefundFollowup(database, Metrics(), MINUTE, HOUR)  # type: ignore[arg-type]
    await followup.repeat_requests()
    assert [refund.asks for refund in database.uow.refunds.saved.values()] == [1, 2, 1]


async def test_only_a_repeated_request_is_logged(
    database: InMemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica has repeated the request of `ref_1` after it was found."""
    await given_refunds(database.uow, 2, full=True, released_at=None, asks=1)
    saved = database.uow.refunds.saved
    saved["ref_0"].asked_at = NOW - timedelta(hours=1)
    saved["ref_1"].asked_at = datetime.now(UTC)

    async def found_before(_asked_before: datetime, _limit: int) -> list[Refund]:
        return list(saved.values())

    monkeypatch.setattr(database.uow.refunds, "find_unanswered", found_before)
    with capture_logs() as lines:
        await RefundFollowup(database, Metrics(), MINUTE, HOUR).repeat_requests()  # type: ignore[arg-type]
    assert [refund.asks for refund in saved.values()] == [2, 1]
    logged = [line["refund_id"] for line in lines if line["event"] == "refund request repeated"]
    assert logged == ["ref_0"]
