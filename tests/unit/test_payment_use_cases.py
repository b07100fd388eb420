"""payment's use cases, over repositories in memory."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest

from payment_svc.domain.access_codes import (
    AccessCode,
    AccessCodeNotFound,
    AccessCodeNotRedeemable,
    AccessCodeStatus,
)
from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    AmountMismatch,
    Order,
    OrderNotFound,
    OrderNotPayable,
    OrderStatus,
    Recipient,
)
from payment_svc.domain.payments import (
    Captured,
    Declined,
    NoAnswer,
    Outcome,
    Payment,
    PaymentFinal,
    PaymentInProgress,
    PaymentNotFound,
    PaymentStatus,
)
from payment_svc.domain.products import Catalogue, PriceMismatch, Product, ProductNotFound
from payment_svc.use_cases import (
    BeginPayment,
    NewCode,
    PlaceOrder,
    RedeemAccessCode,
    Settled,
    SettlePayment,
    begin_payment,
    place_order,
    redeem_access_codes,
    settle_payment,
)

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
PRICE = Money(19900, "CNY")
ADA = Recipient("ada@example.org", "Ada", "en")
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
CODES = NewCode(lambda: "acc_1", lambda: "7ZK4-0PQX-M2A9-E5TB")


class OrdersInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, Order] = {}

    async def get(self, order_id: str) -> Order:
        if order_id not in self.saved:
            raise OrderNotFound(order_id)
        return deepcopy(self.saved[order_id])

    async def save(self, order: Order) -> None:
        self.saved[order.order_id] = deepcopy(order)


class PaymentsInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, Payment] = {}

    async def get(self, payment_id: str) -> Payment:
        if payment_id not in self.saved:
            raise PaymentNotFound(payment_id)
        return deepcopy(self.saved[payment_id])

    async def find_by_request(self, caller: str, request_id: str) -> Payment | None:
        found = (p for p in self.saved.values() if (p.caller, p.request_id) == (caller, request_id))
        return deepcopy(next(found, None))

    async def find_open(self, order_id: str) -> Payment | None:
        found = (p for p in self.saved.values() if p.order_id == order_id and not p.final)
        return deepcopy(next(found, None))

    async def save(self, payment: Payment) -> None:
        self.saved[payment.payment_id] = deepcopy(payment)


class AccessCodesInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, AccessCode] = {}

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        return {id_: deepcopy(self.saved[id_]) for id_ in ids if id_ in self.saved}

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        self.saved |= {code.id: deepcopy(code) for code in codes}


class InMemory:
    """A unit of work."""

    def __init__(self) -> None:
        self.orders = OrdersInMemory()
        self.payments = PaymentsInMemory()
        self.access_codes = AccessCodesInMemory()

    async def catalogue(self) -> Catalogue:
        return Catalogue([PRODUCT])


@pytest.fixture
def uow() -> InMemory:
    return InMemory()


async def ordered(uow: InMemory, order_id: str = "ord_1") -> Order:
    return await place_order(
        PlaceOrder(order_id, "cus_1", "behavioral-30", PRICE, ADA), uow, now=NOW
    )


def attempt(number: int = 1, amount: Money | None = None) -> BeginPayment:
    return BeginPayment(
        f"pay_{number}", "ord_1", amount, "card", None, "me", f"req_{number}", b"%d" % number
    )


async def begun(uow: InMemory, number: int = 1) -> Payment:
    return await begin_payment(attempt(number), uow, now=NOW)


async def settled(uow: InMemory, outcome: Outcome, number: int = 1) -> Settled:
    return await settle_payment(SettlePayment(f"pay_{number}", outcome), uow, codes=CODES, now=NOW)


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
        await place_order(PlaceOrder("ord_1", "cus_1", product_id, price, ADA), uow, now=NOW)
    assert uow.orders.saved == {}


async def test_a_payment_begins_pending_at_the_orders_price(uow: InMemory) -> None:
    await ordered(uow)
    payment = await begun(uow)
    assert (payment.status, payment.amount) == (PaymentStatus.PENDING, PRICE)
    assert uow.payments.saved == {"pay_1": payment}


async def test_the_same_call_again_finds_the_payment_that_it_began(uow: InMemory) -> None:
    await ordered(uow)
    first = await begun(uow)
    repeat = BeginPayment("pay_9", "ord_1", None, "card", None, "me", "req_1", b"1")
    assert await begin_payment(repeat, uow, now=NOW) == first
    assert list(uow.payments.saved) == ["pay_1"]


async def test_the_same_call_again_finds_it_also_when_the_order_is_paid(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Captured())
    again = await begun(uow)
    assert (again.payment_id, again.status) == ("pay_1", PaymentStatus.SUCCEEDED)


async def test_a_request_id_belongs_to_its_caller(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    other = BeginPayment("pay_2", "ord_1", None, "card", None, "somebody else", "req_1", b"1")
    with pytest.raises(PaymentInProgress):
        await begin_payment(other, uow, now=NOW)


@pytest.mark.parametrize("outcome", [None, NoAnswer()])
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
    await settled(uow, Captured())
    with pytest.raises(OrderNotPayable, match="PAID"):
        await begun(uow, 2)


async def test_no_payment_begins_at_another_amount(uow: InMemory) -> None:
    await ordered(uow)
    with pytest.raises(AmountMismatch):
        await begin_payment(attempt(amount=Money(1, "CNY")), uow, now=NOW)
    assert uow.payments.saved == {}


async def test_captured_money_pays_the_order_and_issues_its_code(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    result = await settled(uow, Captured())
    assert (result.payment.status, result.surplus) == (PaymentStatus.SUCCEEDED, False)
    order, code = uow.orders.saved["ord_1"], uow.access_codes.saved["acc_1"]
    assert (order.status, order.access_code_id) == (OrderStatus.PAID, "acc_1")
    assert (code.status, code.version, code.order_id) == (AccessCodeStatus.ACTIVE, 1, "ord_1")
    assert (code.issued_at, code.expire_at) == (NOW, NOW + timedelta(days=30))
    assert [event.access_code for event in order.events] == [code.code]
    assert [(entry.before, entry.after) for entry in code.audit] == [(None, "ACTIVE")]


@pytest.mark.parametrize("outcome", [Declined("no"), NoAnswer()])
async def test_anything_but_captured_money_issues_nothing(uow: InMemory, outcome: Outcome) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, outcome)
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT
    assert uow.orders.saved["ord_1"].events == []
    assert uow.access_codes.saved == {}


async def test_captured_money_reported_twice_issues_one_code(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Captured())
    before = deepcopy((uow.orders.saved, uow.access_codes.saved))
    result = await settled(uow, Captured())
    assert result.surplus is False
    assert (uow.orders.saved, uow.access_codes.saved) == before
    assert len(uow.orders.saved["ord_1"].events) == 1


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
async def test_money_captured_for_an_order_that_doesnt_wait_for_it_is_surplus(
    uow: InMemory, status: OrderStatus
) -> None:
    await ordered(uow)
    await begun(uow)
    uow.orders.saved["ord_1"].status = status
    result = await settled(uow, Captured())
    assert result.surplus is True
    assert uow.payments.saved["pay_1"].status is PaymentStatus.SUCCEEDED
    assert uow.orders.saved["ord_1"].status is status
    assert uow.access_codes.saved == {}


async def test_an_outcome_that_contradicts_the_first_changes_nothing(uow: InMemory) -> None:
    await ordered(uow)
    await begun(uow)
    await settled(uow, Declined("no"))
    with pytest.raises(PaymentFinal):
        await settled(uow, Captured())
    assert uow.payments.saved["pay_1"].status is PaymentStatus.FAILED
    assert uow.access_codes.saved == {}


async def test_an_outcome_of_an_unknown_payment_is_refused(uow: InMemory) -> None:
    with pytest.raises(PaymentNotFound):
        await settled(uow, Captured())


def a_code(number: int) -> AccessCode:
    return AccessCode(
        f"acc_{number}", f"code {number}", f"ord_{number}", "p", NOW + timedelta(days=1), NOW
    )


def redeem(number: int, session: str = "ses") -> RedeemAccessCode:
    return RedeemAccessCode(f"acc_{number}", f"{session}_{number}", NOW, f"evt_{number}")


async def test_a_batch_of_codes_is_redeemed(uow: InMemory) -> None:
    await uow.access_codes.save_many([a_code(number) for number in range(3)])
    await redeem_access_codes([redeem(0), redeem(2)], uow, now=NOW)
    statuses = [code.status for code in uow.access_codes.saved.values()]
    assert statuses == ["REDEEMED", "ACTIVE", "REDEEMED"]
    assert uow.access_codes.saved["acc_2"].events[0].cause_event_id == "evt_2"


async def test_a_batch_with_an_unknown_code_redeems_none(uow: InMemory) -> None:
    await uow.access_codes.save_many([a_code(0)])
    with pytest.raises(AccessCodeNotFound, match="acc_9"):
        await redeem_access_codes([redeem(0), redeem(9)], uow, now=NOW)
    assert uow.access_codes.saved["acc_0"].status is AccessCodeStatus.ACTIVE


async def test_a_batch_with_a_code_that_was_used_redeems_none(uow: InMemory) -> None:
    await uow.access_codes.save_many([a_code(0), a_code(1)])
    await redeem_access_codes([redeem(1, "first")], uow, now=NOW)
    with pytest.raises(AccessCodeNotRedeemable):
        await redeem_access_codes([redeem(0), redeem(1, "second")], uow, now=NOW)
    assert uow.access_codes.saved["acc_0"].status is AccessCodeStatus.ACTIVE
    assert uow.access_codes.saved["acc_1"].redeemed_session_id == "first_1"
