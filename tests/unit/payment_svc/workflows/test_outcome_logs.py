"""What the log says about payments and refunds whose provider cannot be reached."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from payment_svc.domain.payments import Accepted, Captured, Outcome, OutcomeUnknown
from payment_svc.domain.refunds import RefundOutcome, RefundOutcomeUnknown, RefundProcessing
from payment_svc.use_cases.payments import SettlePayment, settle_payment
from payment_svc.workflows.payments import log_settled
from payment_svc.workflows.refunds import RefundWorkflow
from tests.builders.payment import ACCESS_CODE_FACTORY, NOW, make_order, make_payment
from tests.builders.payment_states import given_refunds
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

CAUSE = "the provider replied UNAVAILABLE: connection refused"


async def payment_log(*outcomes: Outcome) -> Any:
    """The log entry of the last of these outcomes of a payment."""
    uow = InMemoryUnitOfWork()
    payment = make_payment()
    payment.submit(NOW)
    await uow.orders.save(make_order())
    await uow.payments.save(payment)
    for outcome in outcomes:
        command = SettlePayment(payment.payment_id, payment.order_id, outcome, "ref_1")
        settled = await settle_payment(command, uow, codes=ACCESS_CODE_FACTORY, clock=lambda: NOW)
        with capture_logs() as logs:
            log_settled(settled, outcome)
    [entry] = logs
    return entry


async def test_an_unknown_outcome_is_a_warning_with_its_cause() -> None:
    entry = await payment_log(OutcomeUnknown(CAUSE))
    assert (entry["event"], entry["log_level"]) == ("payment outcome unknown", "warning")
    assert entry["cause"] == CAUSE


async def test_only_a_final_outcome_settles_a_payment() -> None:
    captured = Captured(make_payment().amount)
    assert (await payment_log(captured))["event"] == "payment settled"
    assert (await payment_log(captured, OutcomeUnknown(CAUSE)))["event"] == "payment settled"
    assert (await payment_log(Accepted()))["event"] == "payment not settled yet"


class Provider:
    """Returns one outcome for every refund."""

    def __init__(self, outcome: RefundOutcome) -> None:
        self._outcome = outcome

    async def create_refund(self, _refund: object) -> RefundOutcome:
        return self._outcome


@pytest.mark.parametrize(
    ("outcome", "event", "level"),
    [
        (RefundOutcomeUnknown(CAUSE), "refund outcome unknown", "warning"),
        (RefundProcessing(), "refund submitted", "info"),
    ],
)
async def test_a_refund_whose_outcome_is_unknown_is_a_warning_with_its_cause(
    outcome: RefundOutcome, event: str, level: str
) -> None:
    database = InMemoryDatabase(InMemoryUnitOfWork())
    await given_refunds(database.uow, 1)
    workflow = RefundWorkflow(database, Provider(outcome), 60)  # type: ignore[arg-type]
    with capture_logs() as logs:
        await workflow.process_due()
    [entry] = logs
    assert (entry["event"], entry["log_level"]) == (event, level)
    assert entry.get("cause", "") == getattr(outcome, "cause", "")
