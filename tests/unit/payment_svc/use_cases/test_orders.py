"""payment's use cases, over repositories in memory."""

from copy import deepcopy
from datetime import timedelta

import pytest

from payment_svc.domain.access_codes import AccessCodeStatus
from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    AmountMismatch,
    Order,
    OrderNotFound,
    OrderNotPayable,
    OrderStatus,
    PaymentCompleted,
)
from payment_svc.domain.payments import (
    Cancelled,
    Captured,
    Declined,
    Outcome,
    OutcomeUnknown,
    Payment,
    PaymentFinal,
    PaymentInProgress,
    PaymentNotFound,
    PaymentStatus,
)
from payment_svc.domain.products import PriceMismatch, ProductNotFound
from payment_svc.use_cases.orders import CreateOrder, create_order
from payment_svc.use_cases.payments import (
    CreatePayment,
    Settled,
    SettlePayment,
    create_payment,
    settle_payment,
    submit_payment,
)
from tests.fakes.payment import ADA, CODES, NOW, PRICE, InMemory


@pytest.fixture
def uow() -> InMemory:
    return InMemory()


async def ordered(uow: InMemory, order_id: str = "ord_1") -> Order:
    return await create_order(
        CreateOrder(order_id, "cus_1", "behavioral-30", PRICE, ADA), uow, now=NOW
    )


def attempt(number: int = 1, amount: Money | None = None) -> CreatePayment:
    return CreatePayment(
        f"pay_{number}", "ord_1", amount, "card", None, "me", f"req_{number}", b"%d" % number
    )


async def begun(uow: InMemory, number: int = 1) -> Payment:
    return await create_payment(attempt(number), uow, now=NOW)


async def settled(uow: InMemory, outcome: Outcome, number: int = 1) -> Settled:
    payment = uow.payments.saved.get(f"pay_{number}")
    if payment and payment.status is PaymentStatus.PENDING:
        await submit_payment(payment.payment_id, uow, now=NOW)
    command = SettlePayment(f"pay_{number}", "ord_1", outcome, f"ref_{len(uow.refunds.saved)}")
    return await settle_payment(command, uow, codes=CODES, now=NOW)


async def test_a_placed_order_is_kept(uow: InMemory) -> None:
    order = await ordered(uow)
    assert uow.orders.saved == {"ord_1": order}
    assert (order.price, order.recipient) == (PRICE, ADA)


@pytest.mark.parametrize(
    ("product_id", "price", "error"),
    [("nothing", None, ProductNotFound), ("behavioral-30", Money(1, "CNY"), PriceMismatch)],
)
async def test_an_order_that_cant_be_quoted_isnt_kept(
    uow: InMemory, product_id: str, price: Money | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await create_order(CreateOrder("ord_1", "cus_1", product_id, price, ADA), uow, now=NOW)
    assert uow.orders.saved == {}


async def test_a_payment_begins_pending_at_the_orders_price(uow: InMemory) -> None:
    await ordered(uow)
    payment = await begun(uow)
    assert (payment.status, payment.amount) == (PaymentStatus.PENDING, PRICE)
    assert uow.payments.saved == {"pay_1": payment}


async def test_the_same_call_again_finds_the_payment_that_it_began(uow: InMemory) -> None:
    await ordered(uow)
    first = await begun(uow)
    repeat = CreatePayment("pay_9", "ord_1", None, "card", None, "me", "req_1", b"1")
    assert await create_payment(repeat, uow, now=NOW) == first
    assert list(uow.payments.saved) == ["pay_1"]


async def test_the_same_call_again_finds_it_also_when_the_order_is_paid(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Captured(PRICE))
    again = await begun(uow)
    assert (again.payment_id, again.status) == ("pay_1", PaymentStatus.SUCCEEDED)


async def test_a_request_id_belongs_to_its_caller(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    other = CreatePayment("pay_2", "ord_1", None, "card", None, "somebody else", "req_1", b"1")
    with pytest.raises(PaymentInProgress):
        await create_payment(other, uow, now=NOW)


@pytest.mark.parametrize("outcome", [None, OutcomeUnknown()])
async def test_one_attempt_at_a_time(uow: InMemory, outcome: Outcome | None) -> None:
    """A charge whose outcome isn't known may stand: a second could take the money twice."""
    await ordered(uow)
    await begun(uow)
    if outcome:
        await settled(uow, outcome)
    with pytest.raises(PaymentInProgress, match="pay_1"):
        await begun(uow, 2)
    assert list(uow.payments.saved) == ["pay_1"]


async def test_after_a_declined_attempt_another_may_begin(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Declined("no funds"))
    assert (await begun(uow, 2)).status is PaymentStatus.PENDING


async def test_no_payment_begins_for_an_order_that_isnt_there(uow: InMemory) -> None:
    with pytest.raises(OrderNotFound):
        await begun(uow)


async def test_no_payment_begins_for_an_order_that_is_paid(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Captured(PRICE))
    with pytest.raises(OrderNotPayable, match="PAID"):
        await begun(uow, 2)


async def test_no_payment_begins_at_another_amount(uow: InMemory) -> None:
    await ordered(uow)
    with pytest.raises(AmountMismatch):
        await create_payment(attempt(amount=Money(1, "CNY")), uow, now=NOW)
    assert uow.payments.saved == {}


async def test_captured_money_pays_the_order_and_issues_its_code(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    result = await settled(uow, Captured(PRICE))
    assert (result.payment.status, result.surplus) == (PaymentStatus.SUCCEEDED, None)
    order, code = uow.orders.saved["ord_1"], uow.access_codes.saved["acc_1"]
    assert (order.status, order.access_code_id) == (OrderStatus.PAID, "acc_1")
    assert (code.status, code.version, code.order_id) == (AccessCodeStatus.ACTIVE, 1, "ord_1")
    assert (code.issued_at, code.expire_at) == (NOW, NOW + timedelta(days=30))
    [event] = uow.told
    assert isinstance(event, PaymentCompleted)
    assert event.access_code == code.code
    assert uow.refunds.saved == {}
    assert [(entry.before, entry.after) for entry in uow.access_codes.audit[code.id]] == [
        (None, "ACTIVE")
    ]


@pytest.mark.parametrize("outcome", [Declined("no"), OutcomeUnknown()])
async def test_anything_but_captured_money_issues_nothing(uow: InMemory, outcome: Outcome) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, outcome)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT
    assert not [told for told in uow.told if isinstance(told, PaymentCompleted)]
    assert uow.access_codes.saved == {}


async def test_captured_money_reported_twice_issues_one_code(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Captured(PRICE))
    before = deepcopy((uow.orders.saved, uow.access_codes.saved))
    result = await settled(uow, Captured(PRICE))
    assert result.surplus is None
    assert uow.refunds.saved == {}
    assert (uow.orders.saved, uow.access_codes.saved) == before
    assert len(uow.told) == 1


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
async def test_money_captured_for_an_order_that_doesnt_wait_for_it_is_surplus(
    uow: InMemory, status: OrderStatus
) -> None:
    await ordered(uow)
    await begun(uow)
    uow.orders.saved["ord_1"].status = status
    result = await settled(uow, Captured(PRICE))
    assert list(uow.refunds.saved.values()) == [result.surplus]
    payment = uow.payments.saved["pay_1"]
    assert (payment.status, payment.captured) == (PaymentStatus.SUCCEEDED, PRICE)
    assert uow.orders.saved["ord_1"].status is status
    assert uow.access_codes.saved == {}


async def test_an_outcome_that_contradicts_the_first_changes_nothing(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Declined("no"))
    with pytest.raises(PaymentFinal):
        await settled(uow, Cancelled())
    assert uow.payments.saved["pay_1"].status is PaymentStatus.FAILED
    assert uow.access_codes.saved == {}


async def test_an_outcome_of_an_unknown_payment_is_refused(uow: InMemory) -> None:
    await ordered(uow)
    with pytest.raises(PaymentNotFound):
        await settled(uow, Captured(PRICE))
