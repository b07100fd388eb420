"""payment's aggregates: given a state, when a verb, then a state and events, or a refusal."""

from datetime import UTC, datetime, timedelta

import pytest

from payment_svc.domain.access_code_errors import AccessCodeNotRedeemable
from payment_svc.domain.access_code_events import AccessCodeRedeemed, AuditEntry
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus, ValidationReason
from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    TIME_TO_PAY,
    AmountMismatch,
    Order,
    OrderNotPayable,
    OrderStatus,
    PaymentCompleted,
    Recipient,
)
from payment_svc.domain.products import (
    Catalogue,
    CurrencyNotSupported,
    PriceMismatch,
    Product,
    ProductNotFound,
)

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
PRICE = Money(19900, "CNY")
ADA = Recipient("ada@example.org", "Ada", "en")
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))


def an_order(status: OrderStatus = OrderStatus.PENDING_PAYMENT) -> Order:
    order = Order.place("ord_1", "cus_1", PRODUCT, ADA, NOW)
    order.status = status
    return order


def a_code(status: AccessCodeStatus = AccessCodeStatus.ACTIVE) -> AccessCode:
    return AccessCode(
        id="acc_1",
        code="7ZK4-0PQX-M2A9-E5TB",
        order_id="ord_1",
        product_id="behavioral-30",
        expire_at=NOW + timedelta(days=30),
        issued_at=NOW,
        status=status,
    )


# Order


def test_a_placed_order_costs_what_the_catalogue_says_and_waits_for_its_payment() -> None:
    order = Order.place("ord_1", "cus_1", PRODUCT, ADA, NOW)
    assert (order.price, order.status) == (PRICE, OrderStatus.PENDING_PAYMENT)
    assert (order.created_at, order.expire_at) == (NOW, NOW + TIME_TO_PAY)
    assert (order.paid_at, order.access_code_id, order.events) == (None, None, [])


@pytest.mark.parametrize("amount", [None, PRICE])
def test_an_order_may_be_paid_until_it_expires(amount: Money | None) -> None:
    an_order().check_payable(amount, NOW + TIME_TO_PAY - INSTANT)


def test_an_order_cant_be_paid_from_the_moment_it_expires() -> None:
    with pytest.raises(OrderNotPayable, match="EXPIRED") as refused:
        an_order().check_payable(PRICE, NOW + TIME_TO_PAY)
    assert refused.value.subject == "ord_1"


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
def test_an_order_that_doesnt_wait_for_a_payment_takes_none(status: OrderStatus) -> None:
    with pytest.raises(OrderNotPayable, match=status):
        an_order(status).check_payable(PRICE, NOW)


@pytest.mark.parametrize("amount", [Money(19899, "CNY"), Money(19901, "CNY"), Money(19900, "USD")])
def test_an_amount_that_isnt_the_price_is_refused(amount: Money) -> None:
    with pytest.raises(AmountMismatch, match="19900 CNY") as refused:
        an_order().check_payable(amount, NOW)
    assert refused.value.subject == "ord_1"


def test_a_paid_order_announces_its_code_and_who_gets_it() -> None:
    order, code = an_order(), a_code()
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
            email="ada@example.org",
            display_name="Ada",
            language_code="en",
            occurred_at=LATER,
        )
    ]


def test_a_payment_that_began_in_time_counts_though_it_ends_after_the_expiry() -> None:
    order = an_order()
    order.complete_payment("pay_1", a_code(), order.expire_at + timedelta(hours=1))
    assert order.status is OrderStatus.PAID


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
def test_an_order_is_paid_once_and_only_while_it_waits(status: OrderStatus) -> None:
    order = an_order(status)
    with pytest.raises(OrderNotPayable):
        order.complete_payment("pay_1", a_code(), LATER)
    assert (order.status, order.paid_at, order.access_code_id, order.events) == (
        status,
        None,
        None,
        [],
    )


# Payment: see test_paying_domain.py


# AccessCode


def test_an_issued_code_has_its_issue_in_the_audit() -> None:
    code = a_code()
    code.record_issue()
    assert code.audit == [AuditEntry("acc_1", 1, NOW, "payment", None, AccessCodeStatus.ACTIVE, "")]


@pytest.mark.parametrize("product_id", ["", "behavioral-30"])
def test_an_active_code_is_valid_until_it_expires(product_id: str) -> None:
    code = a_code()
    assert code.validate(product_id, code.expire_at - INSTANT) is ValidationReason.VALID
    assert code.validate(product_id, code.expire_at) is ValidationReason.EXPIRED


@pytest.mark.parametrize("status", sorted(set(AccessCodeStatus) - {AccessCodeStatus.ACTIVE}))
def test_a_code_that_isnt_active_is_invalid_for_its_status_before_all_else(
    status: AccessCodeStatus,
) -> None:
    code = a_code(status)
    assert code.validate("another", code.expire_at) == status


def test_that_it_expired_goes_before_that_its_product_is_another() -> None:
    code = a_code()
    assert code.validate("another", code.expire_at) is ValidationReason.EXPIRED
    assert code.validate("another", NOW) is ValidationReason.PRODUCT_MISMATCH


def test_validating_changes_nothing() -> None:
    code = a_code()
    code.validate("another", code.expire_at)
    assert (code, code.events, code.audit) == (a_code(), [], [])


def test_a_redeemed_code_names_its_session_and_announces_its_record() -> None:
    code = a_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    assert (code.status, code.version) == (AccessCodeStatus.REDEEMED, 2)
    assert (code.redeemed_session_id, code.redeemed_at) == ("ses_1", NOW)
    assert code.audit == [
        AuditEntry(
            "acc_1",
            2,
            LATER,
            "interview",
            AccessCodeStatus.ACTIVE,
            AccessCodeStatus.REDEEMED,
            "evt_1",
        )
    ]
    assert code.events == [
        AccessCodeRedeemed(record=code, cause_event_id="evt_1", occurred_at=LATER)
    ]


def test_the_announced_record_is_a_copy() -> None:
    code = a_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    [announced] = code.events
    code.version = 99
    assert announced.record.version == 2
    assert (announced.record.events, announced.record.audit) == ([], [])


def test_redeeming_again_for_the_same_session_changes_nothing() -> None:
    code = a_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    code.events.clear()
    code.audit.clear()
    code.redeem("ses_1", NOW, "evt_2", LATER)
    assert (code.version, code.events, code.audit) == (2, [], [])


def test_a_redeemed_code_cant_be_redeemed_for_another_session() -> None:
    code = a_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    with pytest.raises(AccessCodeNotRedeemable, match="REDEEMED"):
        code.redeem("ses_2", NOW, "evt_2", LATER)
    assert (code.redeemed_session_id, code.version) == ("ses_1", 2)


# Catalogue


CATALOGUE = Catalogue([PRODUCT, Product("x", "x", "x", Money(100, "USD"), timedelta(days=1))])


@pytest.mark.parametrize("expected", [None, PRICE])
def test_a_product_is_quoted_at_the_price_that_the_customer_saw(expected: Money | None) -> None:
    assert CATALOGUE.quote("behavioral-30", expected) is PRODUCT


def test_an_unknown_product_is_refused() -> None:
    with pytest.raises(ProductNotFound):
        CATALOGUE.quote("nothing", None)


def test_a_price_that_changed_meanwhile_is_refused() -> None:
    with pytest.raises(PriceMismatch, match="19900 CNY") as refused:
        CATALOGUE.quote("behavioral-30", Money(1, "CNY"))
    assert refused.value.subject == "behavioral-30"


def test_the_currency_of_another_product_is_a_wrong_price() -> None:
    with pytest.raises(PriceMismatch):
        CATALOGUE.quote("behavioral-30", Money(19900, "USD"))


def test_a_currency_in_which_nothing_is_sold_is_refused_as_such() -> None:
    with pytest.raises(CurrencyNotSupported):
        CATALOGUE.quote("behavioral-30", Money(19900, "EUR"))
