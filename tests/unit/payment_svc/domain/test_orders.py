"""Order: creation, payment, cancellation and expiry."""

from datetime import timedelta

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import (
    AmountMismatch,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotPayable,
)
from payment_svc.domain.order_events import OrderCancelled, OrderExpired, PaymentCompleted
from payment_svc.domain.orders import TIME_TO_PAY, Order, OrderStatus
from tests.builders.payment import (
    ADA,
    INSTANT,
    LATER,
    NOW,
    PRICE,
    PRODUCT,
    make_access_code,
    make_order,
)


def test_a_new_order_has_the_catalogues_price_and_waits_for_its_payment() -> None:
    order = Order.create("ord_1", "cus_1", PRODUCT, ADA, NOW)
    assert (order.price, order.status) == (PRICE, OrderStatus.PENDING_PAYMENT)
    assert (order.created_at, order.expire_at) == (NOW, NOW + TIME_TO_PAY)
    assert (order.paid_at, order.access_code_id, order.events) == (None, None, [])


@pytest.mark.parametrize("amount", [None, PRICE])
def test_an_order_can_be_paid_until_it_expires(amount: Money | None) -> None:
    make_order().check_payable(amount, NOW + TIME_TO_PAY - INSTANT)


def test_an_order_cannot_be_paid_from_its_expiry_on() -> None:
    with pytest.raises(OrderNotPayable, match="EXPIRED") as refused:
        make_order().check_payable(PRICE, NOW + TIME_TO_PAY)
    assert refused.value.subject == "ord_1"


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
def test_an_order_that_does_not_wait_for_a_payment_cannot_be_paid(status: OrderStatus) -> None:
    with pytest.raises(OrderNotPayable, match=status):
        make_order(status).check_payable(PRICE, NOW)


@pytest.mark.parametrize("amount", [Money(19899, "CNY"), Money(19901, "CNY"), Money(19900, "USD")])
def test_an_amount_that_differs_from_the_price_is_refused(amount: Money) -> None:
    with pytest.raises(AmountMismatch, match="19900 CNY") as refused:
        make_order().check_payable(amount, NOW)
    assert refused.value.subject == "ord_1"


def test_a_paid_order_publishes_its_code_and_recipient() -> None:
    order, code = make_order(), make_access_code()
    order.complete_payment("pay_1", code, LATER)
    assert (order.status, order.paid_at, order.access_code_id) == (OrderStatus.PAID, LATER, "acc_1")
    assert order.payment_id == "pay_1"
    assert order.events == [
        PaymentCompleted(
            order_id="ord_1",
            customer_id="cus_1",
            payment_id="pay_1",
            access_code_id="acc_1",
            access_code=code.code,
            expire_at=code.expire_at,
            version=1,
            product_id="behavioral-30",
            recipient=ADA,
            occurred_at=LATER,
        )
    ]


def test_a_payment_completed_after_the_expiry_pays_the_order() -> None:
    order = make_order()
    order.complete_payment("pay_1", make_access_code(), order.expire_at + timedelta(hours=1))
    assert order.status is OrderStatus.PAID


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
def test_an_order_is_paid_once_and_only_while_it_is_unpaid(status: OrderStatus) -> None:
    order = make_order(status)
    with pytest.raises(OrderNotPayable):
        order.complete_payment("pay_1", make_access_code(), LATER)
    assert (order.status, order.paid_at, order.access_code_id, order.events) == (
        status,
        None,
        None,
        [],
    )


def test_an_unpaid_order_can_be_cancelled() -> None:
    order = make_order()
    order.cancel(LATER)
    assert order.status is OrderStatus.CANCELLED
    assert order.events == [
        OrderCancelled(order_id="ord_1", customer_id="cus_1", occurred_at=LATER)
    ]


def test_an_order_cannot_be_cancelled_from_its_expiry_on() -> None:
    order = make_order()
    with pytest.raises(OrderNotCancellable, match="EXPIRED"):
        order.cancel(order.expire_at)
    assert (order, order.events) == (make_order(), [])


def test_an_unpaid_order_expires_at_its_expiry() -> None:
    order = make_order()
    order.expire(order.expire_at)
    assert order.status is OrderStatus.EXPIRED
    assert order.events == [
        OrderExpired(
            order_id="ord_1",
            customer_id="cus_1",
            expired_at=order.expire_at,
            occurred_at=order.expire_at,
        )
    ]


def test_an_order_does_not_expire_before_its_expiry() -> None:
    order = make_order()
    with pytest.raises(OrderNotExpirable):
        order.expire(order.expire_at - timedelta(microseconds=1))
    assert (order, order.events) == (make_order(), [])


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
def test_only_an_unpaid_order_can_be_cancelled_or_expire(status: OrderStatus) -> None:
    order = make_order(status)
    with pytest.raises(OrderNotCancellable, match=status) as refused:
        order.cancel(LATER)
    assert refused.value.subject == "ord_1"
    with pytest.raises(OrderNotExpirable, match=status) as refused_too:
        order.expire(order.expire_at)
    assert refused_too.value.subject == "ord_1"
    assert (order, order.events) == (make_order(status), [])


def test_the_time_to_pay_can_be_set() -> None:
    order = Order.create("ord_1", "cus_1", PRODUCT, ADA, NOW, timedelta(seconds=5))
    assert order.expire_at == NOW + timedelta(seconds=5)
