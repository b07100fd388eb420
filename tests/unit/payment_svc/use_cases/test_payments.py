"""Use cases of payments: create, submit, settle, and surplus money."""

from copy import deepcopy
from datetime import timedelta

import pytest

from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import AmountMismatch, OrderNotFound, OrderNotPayable
from payment_svc.domain.order_events import PaymentCompleted
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payment_errors import PaymentFinal, PaymentInProgress, PaymentNotFound
from payment_svc.domain.payments import (
    Cancelled,
    Captured,
    Declined,
    Outcome,
    OutcomeUnknown,
    PaymentStatus,
)
from payment_svc.domain.refunds import RefundStatus
from payment_svc.use_cases.payments import CreatePayment, create_payment, submit_payment
from tests.builders.payment import LATER, NOW, PRICE
from tests.builders.payment_states import (
    given_order,
    given_outcome,
    given_payment,
    given_submitted_payment,
    payment_command,
)
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork

SHORT = Money(19899, "CNY")


@pytest.fixture
def uow() -> InMemoryUnitOfWork:
    return InMemoryUnitOfWork()


async def test_a_new_payment_is_pending_with_the_orders_price(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    payment = await given_payment(uow)
    assert (payment.status, payment.amount) == (PaymentStatus.PENDING, PRICE)
    assert uow.payments.saved == {"pay_1": payment}
    assert payment.payment_method == "card"


async def test_a_repeated_request_returns_the_payment_that_it_created(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_order(uow)
    first = await given_payment(uow)
    repeat = CreatePayment("pay_9", "ord_1", None, "card", None, "me", "req_1", b"1")
    assert await create_payment(repeat, uow, clock=at(NOW)) == first
    assert list(uow.payments.saved) == ["pay_1"]


async def test_a_repeated_request_returns_its_payment_after_the_order_was_paid(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_order(uow)
    await given_payment(uow)
    await given_outcome(uow, Captured(PRICE))
    again = await given_payment(uow)
    assert (again.payment_id, again.status) == ("pay_1", PaymentStatus.SUCCEEDED)


async def test_a_request_id_belongs_to_its_caller(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    await given_payment(uow)
    other = CreatePayment("pay_2", "ord_1", None, "card", None, "another caller", "req_1", b"1")
    with pytest.raises(PaymentInProgress):
        await create_payment(other, uow, clock=at(NOW))


@pytest.mark.parametrize("outcome", [None, OutcomeUnknown()])
async def test_an_order_has_one_open_payment_at_a_time(
    uow: InMemoryUnitOfWork, outcome: Outcome | None
) -> None:
    """An open charge may be captured later: a second one could charge twice."""
    await given_order(uow)
    await given_payment(uow)
    if outcome:
        await given_outcome(uow, outcome)
    state = uow.payments.saved["pay_1"].status
    refusal = f"order ord_1 cannot be paid again: its payment pay_1 is {state}"
    with pytest.raises(PaymentInProgress, match=refusal):
        await given_payment(uow, 2)
    assert list(uow.payments.saved) == ["pay_1"]


async def test_a_submitted_payment_keeps_what_was_recorded_since_it_was_read(
    uow: InMemoryUnitOfWork,
) -> None:
    """It is read again: so an outcome is not replaced, and a change of its time is not undone."""
    await given_order(uow)
    read = await given_payment(uow)
    await submit_payment(deepcopy(read), uow, clock=at(LATER))
    submitted = await submit_payment(deepcopy(read), uow, clock=at(LATER + timedelta(seconds=1)))
    assert submitted == uow.payments.saved["pay_1"]
    assert submitted.updated_at == LATER + timedelta(seconds=1)
    await given_outcome(uow, Captured(PRICE))
    with pytest.raises(PaymentFinal):
        await submit_payment(deepcopy(read), uow, clock=at(LATER))
    assert uow.payments.saved["pay_1"].status is PaymentStatus.SUCCEEDED


async def test_a_payment_that_is_not_stored_cannot_be_submitted(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    payment = await given_payment(uow)
    uow.payments.saved.clear()
    with pytest.raises(PaymentNotFound, match="pay_1"):
        await submit_payment(payment, uow, clock=at(LATER))


async def test_another_payment_can_be_created_after_a_declined_one(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    await given_payment(uow)
    await given_outcome(uow, Declined("no funds"))
    assert (await given_payment(uow, 2)).status is PaymentStatus.PENDING


async def test_a_payment_of_an_unknown_order_is_refused(uow: InMemoryUnitOfWork) -> None:
    with pytest.raises(OrderNotFound):
        await given_payment(uow)


async def test_a_payment_of_a_paid_order_is_refused(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    await given_payment(uow)
    await given_outcome(uow, Captured(PRICE))
    with pytest.raises(OrderNotPayable, match="PAID"):
        await given_payment(uow, 2)


async def test_a_payment_of_another_amount_is_refused(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    with pytest.raises(AmountMismatch):
        await create_payment(payment_command(amount=Money(1, "CNY")), uow, clock=at(NOW))
    assert uow.payments.saved == {}


async def test_captured_money_pays_the_order_and_issues_its_code(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    await given_payment(uow)
    result = await given_outcome(uow, Captured(PRICE))
    assert (result.payment.status, result.surplus) == (PaymentStatus.SUCCEEDED, None)
    order, code = uow.orders.saved["ord_1"], uow.access_codes.saved["acc_1"]
    assert (order.status, order.access_code_id) == (OrderStatus.PAID, "acc_1")
    assert (code.status, code.version, code.order_id) == (AccessCodeStatus.ACTIVE, 1, "ord_1")
    assert (code.issued_at, code.expire_at) == (NOW, NOW + timedelta(days=30))
    [event] = uow.events
    assert event == PaymentCompleted(
        order_id="ord_1",
        customer_id="cus_1",
        recipient=order.recipient,
        payment_id="pay_1",
        access_code_id="acc_1",
        access_code=code.code,
        expire_at=code.expire_at,
        version=1,
        product_id="behavioral-30",
        occurred_at=NOW,
    )
    assert (order.payment_id, code.product_id) == ("pay_1", "behavioral-30")
    assert uow.refunds.saved == {}
    assert [(entry.before, entry.after) for entry in uow.access_codes.audit[code.id]] == [
        (None, "ACTIVE")
    ]


@pytest.mark.parametrize("outcome", [Declined("no"), OutcomeUnknown()])
async def test_an_outcome_without_captured_money_issues_no_code(
    uow: InMemoryUnitOfWork, outcome: Outcome
) -> None:
    await given_order(uow)
    await given_payment(uow)
    await given_outcome(uow, outcome)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT
    assert not [event for event in uow.events if isinstance(event, PaymentCompleted)]
    assert uow.access_codes.saved == {}


async def test_a_repeated_capture_issues_one_code(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    await given_payment(uow)
    await given_outcome(uow, Captured(PRICE))
    before = deepcopy((uow.orders.saved, uow.access_codes.saved))
    result = await given_outcome(uow, Captured(PRICE))
    assert result.surplus is None
    assert uow.refunds.saved == {}
    assert (uow.orders.saved, uow.access_codes.saved) == before
    assert len(uow.events) == 1


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
async def test_money_captured_for_an_order_that_is_not_unpaid_is_surplus(
    uow: InMemoryUnitOfWork, status: OrderStatus
) -> None:
    await given_order(uow)
    await given_payment(uow)
    uow.orders.saved["ord_1"].status = status
    result = await given_outcome(uow, Captured(PRICE))
    assert list(uow.refunds.saved.values()) == [result.surplus]
    payment = uow.payments.saved["pay_1"]
    assert (payment.status, payment.captured) == (PaymentStatus.SUCCEEDED, PRICE)
    assert uow.orders.saved["ord_1"].status is status
    assert uow.access_codes.saved == {}


async def test_an_outcome_that_contradicts_a_final_one_changes_nothing(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_order(uow)
    await given_payment(uow)
    await given_outcome(uow, Declined("no"))
    with pytest.raises(PaymentFinal):
        await given_outcome(uow, Cancelled())
    assert uow.payments.saved["pay_1"].status is PaymentStatus.FAILED
    assert uow.access_codes.saved == {}


async def test_an_outcome_of_an_unknown_payment_is_refused(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    with pytest.raises(PaymentNotFound):
        await given_outcome(uow, Captured(PRICE))


async def test_a_wrong_amount_fails_the_payment_and_is_refunded(uow: InMemoryUnitOfWork) -> None:
    """The captured amount is refunded; another payment can pay the order."""
    await given_submitted_payment(uow)
    result = await given_outcome(uow, Captured(SHORT))
    payment, [refund] = uow.payments.saved["pay_1"], uow.refunds.saved.values()
    assert (payment.status, payment.failure_reason) == ("FAILED", "WRONG_AMOUNT_CAPTURED")
    assert result.surplus == refund
    assert (refund.amount, refund.surplus, refund.status) == (SHORT, True, RefundStatus.PENDING)
    assert (refund.payment_id, refund.order_id, refund.released_at) == ("pay_1", "ord_1", NOW)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT
    await given_payment(uow, 2)
    await given_outcome(uow, Captured(PRICE), 2)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PAID
    assert len(uow.refunds.saved) == 1


@pytest.mark.parametrize("end", [Declined("no"), Cancelled()])
async def test_money_captured_after_a_final_outcome_is_refunded_once(
    uow: InMemoryUnitOfWork, end: Outcome
) -> None:
    await given_submitted_payment(uow)
    await given_outcome(uow, end)
    status = uow.payments.saved["pay_1"].status
    assert (await given_outcome(uow, Captured(PRICE))).surplus
    assert (await given_outcome(uow, Captured(PRICE))).surplus is None
    assert uow.payments.saved["pay_1"].status is status
    assert [refund.amount for refund in uow.refunds.saved.values()] == [PRICE]
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT
    assert uow.access_codes.saved == {}
