"""The refund workflow: submission outside transactions, until the outcome is final."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from devstack.polling import wait_until
from payment_svc.domain.refunds import (
    Refund,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundRefused,
    RefundStatus,
    RefundSucceeded,
)
from payment_svc.workflows.refunds import RefundWorkflow
from runtime.workers import PollingWorker
from tests.builders.payment_states import given_refunds
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

NOW = datetime.now(UTC)


class Provider:
    """Returns or raises an outcome by refund."""

    def __init__(
        self, database: InMemoryDatabase, outcomes: Mapping[str, RefundOutcome | Exception]
    ) -> None:
        self._database, self._outcomes = database, outcomes
        self.submitted: list[str] = []
        self.in_transactions = 0

    async def create_refund(self, refund: Refund) -> RefundOutcome:
        self.submitted.append(refund.refund_id)
        self.in_transactions += self._database.open
        await asyncio.sleep(0)
        outcome = self._outcomes.get(refund.refund_id, RefundSucceeded())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def database() -> InMemoryDatabase:
    return InMemoryDatabase(InMemoryUnitOfWork())


def refund_workflow(database: InMemoryDatabase, provider: Provider) -> RefundWorkflow:
    return RefundWorkflow(database, provider, 60)  # type: ignore[arg-type]


async def process_all(workflow: RefundWorkflow) -> None:
    while await workflow.process_due():
        pass


def statuses(database: InMemoryDatabase) -> list[RefundStatus]:
    return [refund.status for refund in database.uow.refunds.saved.values()]


async def test_the_provider_is_never_called_inside_a_transaction(
    database: InMemoryDatabase,
) -> None:
    await given_refunds(database.uow, 12)
    provider = Provider(database, {})
    await process_all(refund_workflow(database, provider))
    assert (len(provider.submitted), provider.in_transactions) == (12, 0)
    assert set(statuses(database)) == {RefundStatus.SUCCEEDED}


async def test_a_failing_refund_does_not_delay_others(database: InMemoryDatabase) -> None:
    await given_refunds(database.uow, 4)
    outcomes = {
        "ref_0": OSError("gone"),
        "ref_1": RefundOutcomeUnknown(),
        "ref_2": RefundRefused("NO"),
    }
    await process_all(refund_workflow(database, Provider(database, outcomes)))
    assert statuses(database) == ["PENDING", "UNKNOWN", "FAILED", "SUCCEEDED"]


async def test_a_woken_worker_submits_due_refunds(database: InMemoryDatabase) -> None:
    provider = Provider(database, {})
    worker = PollingWorker("refunds", 60, refund_workflow(database, provider).process_due)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    await given_refunds(database.uow, 1)
    worker.wake()

    async def done() -> bool:
        return statuses(database) == ["SUCCEEDED"]

    await wait_until(done, "the refund is SUCCEEDED", 5)
    worker.stop()
    await asyncio.wait_for(running, 5)
