"""Taking refunds to the provider: outside transactions, one trouble at a time, till it is known."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from devstack.polling import wait_until
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.refunds import (
    PaidBack,
    Refund,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundRefused,
    RefundStatus,
)
from payment_svc.workers.refund_followup import RefundFollowup
from payment_svc.workflows.refunds import RefundWorkflow
from runtime.ops.metrics import Metrics
from runtime.workers import PollingWorker
from tests.fakes.payment import ADA, PRICE, PRODUCT, DatabaseInMemory, InMemory

NOW = datetime.now(UTC)


class Provider:
    """Answers by refund; an error is raised."""

    def __init__(
        self, database: DatabaseInMemory, outcomes: Mapping[str, RefundOutcome | Exception]
    ) -> None:
        self._database, self._outcomes = database, outcomes
        self.asked: list[str] = []
        self.in_transactions = 0

    async def refund(self, refund: Refund) -> RefundOutcome:
        self.asked.append(refund.refund_id)
        self.in_transactions += self._database.open
        await asyncio.sleep(0)
        outcome = self._outcomes.get(refund.refund_id, PaidBack())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def refunds(uow: InMemory, count: int, **changes: Any) -> None:
    """Orders `ord_<n>` with the code `acc_<n>` and the released refund `ref_<n>`."""
    for number in range(count):
        order = Order.place(f"ord_{number}", "cus_1", PRODUCT, ADA, NOW)
        order.status, order.access_code_id = OrderStatus.PAID, f"acc_{number}"
        code = AccessCode(f"acc_{number}", "", order.order_id, "", NOW + timedelta(days=1), NOW)
        await uow.access_codes.save_many([code])
        refund = Refund.of_order(f"ref_{number}", order, Money(1, PRICE.currency_code), "", NOW)
        for name, value in changes.items():
            setattr(refund, name, value)
        await uow.orders.save(order)
        await uow.refunds.save(refund)


@pytest.fixture
def database() -> DatabaseInMemory:
    return DatabaseInMemory(InMemory())


def refund_workflow(database: DatabaseInMemory, provider: Provider) -> RefundWorkflow:
    return RefundWorkflow(database, provider, 60)  # type: ignore[arg-type]


async def process_all(workflow: RefundWorkflow) -> None:
    while await workflow.process_due():
        pass


def statuses(database: DatabaseInMemory) -> list[RefundStatus]:
    return [refund.status for refund in database.uow.refunds.saved.values()]


async def test_the_provider_is_never_asked_inside_a_transaction(database: DatabaseInMemory) -> None:
    await refunds(database.uow, 12)
    provider = Provider(database, {})
    await process_all(refund_workflow(database, provider))
    assert (len(provider.asked), provider.in_transactions) == (12, 0)
    assert set(statuses(database)) == {RefundStatus.SUCCEEDED}


async def test_a_refund_in_trouble_keeps_no_other_waiting(database: DatabaseInMemory) -> None:
    await refunds(database.uow, 4)
    outcomes = {
        "ref_0": OSError("gone"),
        "ref_1": RefundOutcomeUnknown(),
        "ref_2": RefundRefused("NO"),
    }
    await process_all(refund_workflow(database, Provider(database, outcomes)))
    assert statuses(database) == ["PENDING", "UNKNOWN", "FAILED", "SUCCEEDED"]


async def test_it_looks_when_woken_and_ends_when_stopped(database: DatabaseInMemory) -> None:
    provider = Provider(database, {})
    worker = PollingWorker("refunds", 60, refund_workflow(database, provider).process_due)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    await refunds(database.uow, 1)
    worker.wake()

    async def done() -> bool:
        return statuses(database) == ["SUCCEEDED"]

    await wait_until(done, "the refund SUCCEEDED", 5)
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_a_question_that_cant_be_asked_again_keeps_no_other_waiting(
    database: DatabaseInMemory,
) -> None:
    """And one that was asked a moment ago is left alone."""
    old = NOW - timedelta(hours=1)
    await refunds(database.uow, 3, full=True, released_at=None, asks=1, asked_at=old)
    del database.uow.orders.saved["ord_0"]
    database.uow.refunds.saved["ref_2"].asked_at = datetime.now(UTC)
    watch = RefundFollowup(database, Metrics(), 60, 900)  # type: ignore[arg-type]
    await watch.request_answers()
    assert [refund.asks for refund in database.uow.refunds.saved.values()] == [1, 2, 1]


async def test_only_a_question_that_was_asked_is_told_in_the_log(
    database: DatabaseInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica asks about `ref_1` after we have looked: then it isn't asked twice."""
    await refunds(database.uow, 2, full=True, released_at=None, asks=1)
    saved = database.uow.refunds.saved
    saved["ref_0"].asked_at = NOW - timedelta(hours=1)
    saved["ref_1"].asked_at = datetime.now(UTC)

    async def seen_before(_asked_before: datetime, _limit: int) -> list[Refund]:
        return list(saved.values())

    monkeypatch.setattr(database.uow.refunds, "unanswered", seen_before)
    with capture_logs() as lines:
        await RefundFollowup(database, Metrics(), 60, 900).request_answers()  # type: ignore[arg-type]
    assert [refund.asks for refund in saved.values()] == [2, 1]
    told = [line["refund_id"] for line in lines if line["event"] == "refund request repeated"]
    assert told == ["ref_0"]
