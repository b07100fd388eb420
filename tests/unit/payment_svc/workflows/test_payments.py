"""The payment workflow: a payment without outcome is queried first, then charged."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    ChargeNotFound,
    Declined,
    Outcome,
    OutcomeUnknown,
    Payment,
    PaymentStatus,
)
from payment_svc.use_cases.payments import CreatePayment
from payment_svc.workflows.payments import PaymentWorkflow, ProviderUnavailable
from tests.builders.payment import ACCESS_CODE_FACTORY, PRICE, make_order, make_payment
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

S = PaymentStatus


class Provider:
    """Responds with the values of its fields; `calls` are the calls in order."""

    def __init__(self) -> None:
        self.found: Outcome | ChargeNotFound = ChargeNotFound()
        self.charged: Outcome = Captured(PRICE)
        self.cancelled: Outcome = Cancelled()
        self.calls: list[str] = []
        self.while_querying: Callable[[], None] = lambda: None

    def supports(self, _payment_method: str) -> bool:
        return True

    async def get_charge(self, _payment_id: str) -> Outcome | ChargeNotFound:
        self.calls.append("get")
        self.while_querying()
        return self.found

    async def create_charge(self, _payment: Payment) -> Outcome:
        self.calls.append("create")
        return self.charged

    async def cancel_charge(self, _payment_id: str) -> Outcome:
        self.calls.append("cancel")
        return self.cancelled


@pytest.fixture
async def uow() -> InMemoryUnitOfWork:
    """With the order `ord_1`, which can be paid for a day."""
    uow = InMemoryUnitOfWork()
    await uow.orders.save(_payable_order())
    return uow


def _payable_order() -> Order:
    order = make_order()
    order.expire_at = datetime.now(UTC) + timedelta(days=1)
    return order


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def workflow(uow: InMemoryUnitOfWork, provider: Provider) -> PaymentWorkflow:
    database = InMemoryDatabase(uow)
    return PaymentWorkflow(database, provider, ACCESS_CODE_FACTORY)  # type: ignore[arg-type]


def request(payment_id: str = "pay_2") -> CreatePayment:
    """The request that created the payments of `make_payment`; each repeat has a new payment id."""
    made = make_payment()
    return CreatePayment(
        payment_id,
        made.order_id,
        None,
        made.payment_method,
        None,
        made.caller,
        made.request_id,
        made.request_hash,
    )


async def test_a_new_payment_is_charged_at_once(
    workflow: PaymentWorkflow, provider: Provider
) -> None:
    payment = await workflow.create(request())
    assert (payment.status, provider.calls) == (S.SUCCEEDED, ["create"])


@pytest.mark.parametrize("status", [S.PENDING, S.PROCESSING, S.UNKNOWN])
@pytest.mark.parametrize(
    ("found", "after"),
    [
        (Captured(PRICE), S.SUCCEEDED),
        (Declined("NO_FUNDS"), S.FAILED),
        (Accepted(), S.PROCESSING),
        (OutcomeUnknown(), S.UNKNOWN),
    ],
)
async def test_a_repeated_request_queries_the_provider_and_does_not_charge_again(
    workflow: PaymentWorkflow,
    provider: Provider,
    uow: InMemoryUnitOfWork,
    status: PaymentStatus,
    found: Outcome,
    after: PaymentStatus,
) -> None:
    await uow.payments.save(make_payment(status))
    provider.found = found
    payment = await workflow.create(request())
    assert (payment.payment_id, payment.status, provider.calls) == ("pay_1", after, ["get"])


async def test_a_repeated_request_charges_if_the_charge_never_reached_the_provider(
    workflow: PaymentWorkflow, provider: Provider, uow: InMemoryUnitOfWork
) -> None:
    await uow.payments.save(make_payment(S.UNKNOWN))
    payment = await workflow.create(request())
    assert (payment.status, provider.calls) == (S.SUCCEEDED, ["get", "create"])


@pytest.mark.parametrize("status", [S.SUCCEEDED, S.FAILED, S.CANCELLED])
async def test_a_repeated_request_for_a_settled_payment_calls_no_provider(
    workflow: PaymentWorkflow, provider: Provider, uow: InMemoryUnitOfWork, status: PaymentStatus
) -> None:
    await uow.payments.save(make_payment(status))
    assert (await workflow.create(request())).status is status
    assert provider.calls == []


async def test_a_repeat_whose_payment_cannot_be_closed_returns_its_present_state(
    workflow: PaymentWorkflow, provider: Provider, uow: InMemoryUnitOfWork
) -> None:
    await uow.orders.save(make_order(OrderStatus.CANCELLED))
    await uow.payments.save(make_payment(S.UNKNOWN))
    provider.cancelled = OutcomeUnknown()
    payment = await workflow.create(request())
    assert (payment.status, provider.calls) == (S.UNKNOWN, ["get", "cancel"])


async def test_the_reconciliation_makes_a_charge_that_never_reached_the_provider(
    workflow: PaymentWorkflow, provider: Provider, uow: InMemoryUnitOfWork
) -> None:
    """The customer requested it, and need not repeat the request."""
    await uow.payments.save(make_payment(S.UNKNOWN))
    payment = await workflow.resume(make_payment(S.UNKNOWN))
    assert (payment.status, provider.calls) == (S.SUCCEEDED, ["get", "create"])
    assert uow.orders.saved["ord_1"].status is OrderStatus.PAID


@pytest.mark.parametrize("closed", [OrderStatus.EXPIRED, OrderStatus.CANCELLED, None])
async def test_the_reconciliation_closes_such_a_charge_if_the_order_cannot_be_paid_any_more(
    workflow: PaymentWorkflow,
    provider: Provider,
    uow: InMemoryUnitOfWork,
    closed: OrderStatus | None,
) -> None:
    """Also if the order's time is over and no worker has expired it yet."""
    await uow.orders.save(make_order(closed or OrderStatus.PENDING_PAYMENT))
    await uow.payments.save(make_payment(S.UNKNOWN))
    payment = await workflow.resume(make_payment(S.UNKNOWN))
    assert (payment.status, provider.calls) == (S.CANCELLED, ["get", "cancel"])


async def test_a_payment_that_is_settled_while_the_provider_is_queried_keeps_its_outcome(
    workflow: PaymentWorkflow, provider: Provider, uow: InMemoryUnitOfWork
) -> None:
    await uow.payments.save(make_payment(S.UNKNOWN))
    settled = make_payment(S.SUCCEEDED, PRICE)
    provider.while_querying = lambda: uow.payments.saved.update(pay_1=settled)
    payment = await workflow.resume(make_payment(S.UNKNOWN))
    assert (payment.status, provider.calls) == (S.SUCCEEDED, ["get"])


async def test_a_payment_that_cannot_be_closed_is_reported(
    workflow: PaymentWorkflow, provider: Provider, uow: InMemoryUnitOfWork
) -> None:
    await uow.payments.save(make_payment(S.UNKNOWN))
    provider.cancelled = OutcomeUnknown()
    with pytest.raises(ProviderUnavailable):
        await workflow.close(make_payment(S.UNKNOWN))
