"""The payment workflow between its transactions: what is committed when the provider is called."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payment_errors import PaymentInProgress, PaymentMethodUnknown
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
from payment_svc.workflows.order_closing import OrderClosing
from payment_svc.workflows.payments import PaymentWorkflow, ProviderUnavailable
from runtime.database.idempotency import RequestIdReused
from tests.builders.payment import ACCESS_CODE_FACTORY, PRICE, make_order, make_payment
from tests.builders.payment_states import payment_command
from tests.fakes.database import InMemoryDatabase
from tests.fakes.payment import InMemoryUnitOfWork

S = PaymentStatus
TO_PAY = timedelta(minutes=30)


class Provider:
    """Has at most one charge, whose outcome a test sets; records the calls and what they saw."""

    def __init__(self, database: InMemoryDatabase) -> None:
        self._database = database
        self.found: Outcome | ChargeNotFound = ChargeNotFound()
        self.charged: Outcome = Captured(PRICE)
        self.closed: Outcome = Cancelled()
        self.calls: list[tuple[str, PaymentStatus]] = []
        self.on_call: Callable[[], Awaitable[None]] | None = None

    def supports(self, payment_method: str) -> bool:
        return payment_method == "card"

    async def create_charge(self, payment: Payment) -> Outcome:
        await self._called("charge", payment.payment_id)
        return self.charged

    async def get_charge(self, payment_id: str) -> Outcome | ChargeNotFound:
        await self._called("query", payment_id)
        return self.found

    async def cancel_charge(self, payment_id: str) -> Outcome:
        await self._called("close", payment_id)
        return self.closed

    async def _called(self, name: str, payment_id: str) -> None:
        assert not self._database.open, "the provider is called inside a transaction"
        self.calls.append((name, self._database.uow.payments.saved[payment_id].status))
        if self.on_call:
            await self.on_call()


@pytest.fixture
def database() -> InMemoryDatabase:
    return InMemoryDatabase(InMemoryUnitOfWork())


@pytest.fixture
def provider(database: InMemoryDatabase) -> Provider:
    return Provider(database)


@pytest.fixture
def workflow(database: InMemoryDatabase, provider: Provider) -> PaymentWorkflow:
    return PaymentWorkflow(database, provider, ACCESS_CODE_FACTORY)  # type: ignore[arg-type]


async def given_open_payment(
    database: InMemoryDatabase,
    status: PaymentStatus = S.PENDING,
    order_status: OrderStatus = OrderStatus.PENDING_PAYMENT,
    **changes: Any,
) -> Payment:
    """The payment `pay_1` of an order that can be paid for 30 minutes from now."""
    order = make_order(order_status)
    order.created_at = datetime.now(UTC)
    order.expire_at = order.created_at + TO_PAY
    for name, value in changes.items():
        setattr(order, name, value)
    await database.uow.orders.save(order)
    payment = make_payment(status)
    await database.uow.payments.save(payment)
    return payment


def stored(database: InMemoryDatabase) -> Payment:
    payment: Payment = database.uow.payments.saved["pay_1"]
    return payment


async def test_a_charge_is_created_only_after_the_payment_is_stored_as_processing(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    """So a crash at any point leaves a payment that the reconciliation finds."""
    await workflow.resume(await given_open_payment(database))
    assert provider.calls == [("query", S.PROCESSING), ("charge", S.PROCESSING)]


async def test_captured_money_pays_the_order_at_once_and_issues_its_code(
    database: InMemoryDatabase, workflow: PaymentWorkflow
) -> None:
    before = datetime.now(UTC)
    await workflow.resume(await given_open_payment(database))
    order, code = database.uow.orders.saved["ord_1"], database.uow.access_codes.saved["acc_1"]
    assert (stored(database).status, order.status) == (S.SUCCEEDED, OrderStatus.PAID)
    assert (order.access_code_id, code.code) == ("acc_1", ACCESS_CODE_FACTORY.new_code())
    assert before <= code.issued_at == order.paid_at <= datetime.now(UTC)


async def test_surplus_money_gets_a_refund_with_an_id_of_its_own(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    provider.found = Captured(Money(PRICE.amount_minor - 1, "CNY"))
    await workflow.resume(await given_open_payment(database, S.PROCESSING))
    (refund,) = database.uow.refunds.saved.values()
    assert refund.refund_id.startswith("ref_")
    assert refund.order_id == "ord_1"


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (Captured(PRICE), S.SUCCEEDED),
        (Declined("no funds"), S.FAILED),
        (Cancelled(), S.CANCELLED),
        (OutcomeUnknown(), S.UNKNOWN),
    ],
)
async def test_a_charge_that_the_provider_has_is_not_created_again(
    database: InMemoryDatabase,
    provider: Provider,
    workflow: PaymentWorkflow,
    found: Outcome,
    status: PaymentStatus,
) -> None:
    provider.found = found
    await workflow.resume(await given_open_payment(database, S.PROCESSING))
    assert provider.calls == [("query", S.PROCESSING)]
    assert stored(database).status is status


@pytest.mark.parametrize(
    "order",
    [
        {"order_status": OrderStatus.CANCELLED},
        {"order_status": OrderStatus.EXPIRED},
        {"expire_at": datetime.now(UTC) - timedelta(seconds=1)},
    ],
)
async def test_a_charge_of_an_order_that_cannot_be_paid_is_closed_instead(
    database: InMemoryDatabase,
    provider: Provider,
    workflow: PaymentWorkflow,
    order: dict[str, Any],
) -> None:
    """A delayed request cannot create it later."""
    await workflow.resume(await given_open_payment(database, S.PROCESSING, **order))
    assert [name for name, _ in provider.calls] == ["query", "close"]
    assert stored(database).status is S.CANCELLED


async def test_an_accepted_charge_stays_open(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    """The provider reports its outcome later."""
    provider.charged = Accepted()
    await workflow.resume(await given_open_payment(database))
    assert stored(database).status is S.PROCESSING
    assert database.uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT


async def test_an_outcome_that_arrives_during_the_call_is_kept(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    """A notification settled the payment: the later outcome of the close changes nothing."""
    payment = await given_open_payment(database, S.PROCESSING)

    async def settle_by_notification() -> None:
        provider.on_call, provider.found = None, Captured(PRICE)
        await workflow.resume(payment)

    provider.on_call, provider.closed = settle_by_notification, Captured(PRICE)
    closed = await workflow.close(payment)
    assert (closed.status, stored(database).status) == (S.SUCCEEDED, S.SUCCEEDED)
    assert database.uow.refunds.saved == {}
    assert len(database.uow.access_codes.saved) == 1


async def test_a_payment_that_was_settled_before_its_close_is_returned_unchanged(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    payment = await given_open_payment(database, S.PROCESSING)
    provider.found = Captured(PRICE)
    await workflow.resume(payment)
    provider.calls.clear()
    assert (await workflow.close(payment)).status is S.SUCCEEDED
    assert provider.calls == []


@pytest.mark.parametrize("closed", [OutcomeUnknown(), Accepted()])
async def test_a_close_without_final_outcome_is_an_unavailable_provider(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow, closed: Outcome
) -> None:
    provider.closed = closed
    payment = await given_open_payment(database, S.PROCESSING)
    with pytest.raises(ProviderUnavailable, match="pay_1"):
        await workflow.close(payment)
    assert not stored(database).final


async def test_a_query_tells_no_outcome_from_no_answer(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    payment = await given_open_payment(database, S.PROCESSING)
    assert await workflow.query(payment) == ChargeNotFound()
    provider.found = OutcomeUnknown()
    with pytest.raises(ProviderUnavailable, match="pay_1"):
        await workflow.query(payment)


async def test_an_unknown_method_creates_no_payment(
    database: InMemoryDatabase, workflow: PaymentWorkflow
) -> None:
    await database.uow.orders.save(make_order())
    with pytest.raises(PaymentMethodUnknown, match="cash"):
        await workflow.create(replace(payment_command(), payment_method="cash"))
    assert database.uow.payments.saved == {}


async def test_an_order_is_closed_only_when_its_payment_is(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    await given_open_payment(database, S.PROCESSING)

    async def close_order() -> PaymentStatus:
        return stored(database).status

    closing = OrderClosing(database, workflow)  # type: ignore[arg-type]
    assert await closing.with_payments_closed("ord_1", close_order) is S.CANCELLED
    provider.calls.clear()
    await closing.with_payments_closed("ord_1", close_order)
    assert provider.calls == []


async def test_a_request_creates_and_charges_a_payment_now(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    await given_open_payment(database)
    database.uow.payments.saved.clear()
    before = datetime.now(UTC)
    payment = await workflow.create(payment_command())
    assert (payment.payment_id, payment.status) == ("pay_1", S.SUCCEEDED)
    assert before <= payment.created_at <= datetime.now(UTC)
    assert ("charge", S.PROCESSING) in provider.calls


async def test_a_repeated_request_with_a_final_payment_does_not_reach_the_provider(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    await given_open_payment(database)
    database.uow.payments.saved.clear()
    created = await workflow.create(payment_command())
    provider.calls.clear()
    assert await workflow.create(payment_command()) == created
    assert provider.calls == []


async def test_a_request_id_with_another_request_is_refused(
    database: InMemoryDatabase, provider: Provider, workflow: PaymentWorkflow
) -> None:
    await given_open_payment(database)
    database.uow.payments.saved.clear()
    await workflow.create(payment_command())
    provider.calls.clear()
    with pytest.raises(RequestIdReused, match="req_1"):
        await workflow.create(replace(payment_command(), request_hash=b"another request"))
    assert provider.calls == []


async def test_an_order_that_is_paid_again_and_again_is_not_closed(
    database: InMemoryDatabase, workflow: PaymentWorkflow
) -> None:
    attempts = 0

    async def find_a_new_payment() -> None:
        nonlocal attempts
        attempts += 1
        raise PaymentInProgress("ord_1", "pay_2", "PROCESSING", "cancelled")

    closing = OrderClosing(database, workflow)  # type: ignore[arg-type]
    with pytest.raises(ProviderUnavailable, match="order ord_1: new payments"):
        await closing.with_payments_closed("ord_1", find_a_new_payment)
    assert attempts == 3
