"""Payments, their notifications, unpaid orders: given a state, when a verb, then a state."""

from datetime import UTC, datetime, timedelta

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    Order,
    OrderCancelled,
    OrderExpired,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderStatus,
    Recipient,
)
from payment_svc.domain.payments import (
    FINAL,
    WRONG_AMOUNT,
    Accepted,
    Cancelled,
    Captured,
    ChargeNotFound,
    CurrencyCaptured,
    Declined,
    Outcome,
    OutcomeUnknown,
    Payment,
    PaymentFailed,
    PaymentFinal,
    PaymentNotSubmitted,
    PaymentStatus,
)
from payment_svc.domain.products import Product
from payment_svc.domain.provider_notifications import (
    ProviderConfirmationNeeded,
    ProviderNotification,
    ProviderNotificationDone,
    ProviderNotificationStatus,
)

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
PRICE, SHORT = Money(19900, "CNY"), Money(19899, "CNY")
PENDING, PROCESSING, UNKNOWN = (
    PaymentStatus.PENDING,
    PaymentStatus.PROCESSING,
    PaymentStatus.UNKNOWN,
)
SUCCEEDED, FAILED, CANCELLED = (
    PaymentStatus.SUCCEEDED,
    PaymentStatus.FAILED,
    PaymentStatus.CANCELLED,
)
OUTCOMES: dict[PaymentStatus, Outcome] = {
    SUCCEEDED: Captured(PRICE),
    FAILED: Declined("no funds"),
    PROCESSING: Accepted(),
    UNKNOWN: OutcomeUnknown(),
    CANCELLED: Cancelled(),
}
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
ADA = Recipient("ada@example.org", "Ada", "en")


def a_payment(status: PaymentStatus = PROCESSING, captured: Money | None = None) -> Payment:
    """As it is in this state; what SUCCEEDED has captured its price."""
    captured = PRICE if status is SUCCEEDED else captured
    return Payment(
        payment_id="pay_1",
        order_id="ord_1",
        amount=PRICE,
        payment_method="card",
        caller="me",
        request_id="req_1",
        request_hash=b"hash",
        created_at=NOW,
        updated_at=NOW,
        status=status,
        captured=captured,
    )


def an_order(status: OrderStatus = OrderStatus.PENDING_PAYMENT) -> Order:
    order = Order.place("ord_1", "cus_1", PRODUCT, ADA, NOW)
    order.status = status
    return order


def told(outcome: Outcome, amount: Money = PRICE, order_id: str = "ord_1") -> ProviderNotification:
    return ProviderNotification(
        payment_notification_id="pnt_1",
        digest=b"digest",
        body=b"body",
        payment_id="pay_1",
        order_id=order_id,
        amount=amount,
        outcome=outcome,
        received_at=NOW,
    )


# Payment


@pytest.mark.parametrize("status", PaymentStatus)
def test_a_payment_is_final_when_its_outcome_is_known_for_good(status: PaymentStatus) -> None:
    assert a_payment(status).final is (status.name in {"SUCCEEDED", "FAILED", "CANCELLED"})


@pytest.mark.parametrize("before", [PENDING, PROCESSING, UNKNOWN])
def test_before_the_provider_is_asked_a_payment_is_processing(before: PaymentStatus) -> None:
    """And it has changed just now: the reconciler leaves a call in flight alone."""
    payment = a_payment(before)
    payment.ask(LATER)
    assert (payment.status, payment.updated_at) == (PROCESSING, LATER)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_the_provider_isnt_asked_about_a_final_payment(status: PaymentStatus) -> None:
    payment = a_payment(status)
    with pytest.raises(PaymentFinal, match=status) as refused:
        payment.ask(LATER)
    assert refused.value.subject == "pay_1"
    assert payment == a_payment(status)


@pytest.mark.parametrize("outcome", OUTCOMES.values())
def test_a_payment_that_was_never_asked_about_has_no_outcome(outcome: Outcome) -> None:
    payment = a_payment(PENDING)
    assert not payment.takes(outcome)
    with pytest.raises(PaymentNotSubmitted, match="PENDING") as refused:
        payment.record(outcome, LATER)
    assert refused.value.subject == "pay_1"
    assert payment == a_payment(PENDING)


@pytest.mark.parametrize("after", OUTCOMES)
@pytest.mark.parametrize("before", [PROCESSING, UNKNOWN])
def test_a_payment_without_outcome_takes_what_the_provider_says(
    before: PaymentStatus, after: PaymentStatus
) -> None:
    payment = a_payment(before)
    assert payment.takes(OUTCOMES[after])
    captured = payment.record(OUTCOMES[after], LATER)
    assert payment.status is after
    assert captured == payment.captured == (PRICE if after is SUCCEEDED else None)
    assert payment.updated_at == (NOW if after is before else LATER)
    assert payment.failure_reason == ("no funds" if after is FAILED else "")


@pytest.mark.parametrize("after", OUTCOMES)
def test_only_a_payment_that_failed_says_so(after: PaymentStatus) -> None:
    payment = a_payment()
    payment.record(OUTCOMES[after], LATER)
    failed = PaymentFailed(
        order_id="ord_1", payment_id="pay_1", failure_reason="no funds", occurred_at=LATER
    )
    assert payment.events == ([failed] if after is FAILED else [])


@pytest.mark.parametrize("before", [PROCESSING, UNKNOWN])
@pytest.mark.parametrize("amount", [SHORT, Money(19901, "CNY")])
def test_another_amount_than_asked_pays_nothing(before: PaymentStatus, amount: Money) -> None:
    """FAILED, and what was captured is known, to be given back."""
    payment = a_payment(before)
    assert payment.record(Captured(amount), LATER) == amount
    assert (payment.status, payment.failure_reason) == (FAILED, WRONG_AMOUNT)
    assert payment.captured == amount
    assert [event.failure_reason for event in payment.events] == [WRONG_AMOUNT]
    assert payment.record(Captured(amount), LATER) is None
    assert len(payment.events) == 1


@pytest.mark.parametrize("status", [PROCESSING, *sorted(FINAL)])
def test_another_currency_than_asked_is_beyond_us(status: PaymentStatus) -> None:
    payment, dollars = a_payment(status), Captured(Money(19900, "USD"))
    assert not payment.takes(dollars)
    with pytest.raises(CurrencyCaptured, match="USD"):
        payment.record(dollars, LATER)
    assert payment == a_payment(status)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_the_same_outcome_again_changes_nothing(status: PaymentStatus) -> None:
    payment = a_payment(status)
    assert not payment.contradicts(OUTCOMES[status])
    assert payment.record(OUTCOMES[status], LATER) is None
    assert payment == a_payment(status)
    assert payment.events == []


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("outcome", [Accepted(), OutcomeUnknown()])
def test_less_than_an_outcome_doesnt_undo_one(status: PaymentStatus, outcome: Outcome) -> None:
    """Answers and notifications overtake each other."""
    payment = a_payment(status)
    assert not payment.contradicts(outcome)
    assert payment.record(outcome, LATER) is None
    assert payment == a_payment(status)


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        (SUCCEEDED, Declined("no funds")),
        (SUCCEEDED, Cancelled()),
        (SUCCEEDED, Captured(SHORT)),
        (FAILED, Cancelled()),
        (CANCELLED, Declined("no funds")),
    ],
)
def test_an_outcome_that_contradicts_the_first_is_refused(
    before: PaymentStatus, outcome: Outcome
) -> None:
    payment = a_payment(before)
    assert payment.contradicts(outcome)
    assert not payment.takes(outcome)
    with pytest.raises(PaymentFinal, match=before) as refused:
        payment.record(outcome, LATER)
    assert refused.value.subject == "pay_1"
    assert payment == a_payment(before)


@pytest.mark.parametrize("before", [FAILED, CANCELLED])
@pytest.mark.parametrize("amount", [PRICE, SHORT])
def test_money_captured_after_the_end_is_known_and_changes_no_status(
    before: PaymentStatus, amount: Money
) -> None:
    """Once; a second word of it is no news, and one of another amount is refused."""
    payment = a_payment(before)
    assert payment.contradicts(Captured(amount))
    assert payment.takes(Captured(amount))
    assert payment.record(Captured(amount), LATER) == amount
    assert (payment.status, payment.captured, payment.events) == (before, amount, [])
    assert payment.record(Captured(amount), LATER) is None
    with pytest.raises(PaymentFinal):
        payment.record(Captured(Money(1, "CNY")), LATER)
    with pytest.raises(PaymentFinal):
        payment.record(OUTCOMES[before], LATER)


# Order


def test_an_unpaid_order_may_be_cancelled() -> None:
    order = an_order()
    order.cancel(LATER)
    assert order.status is OrderStatus.CANCELLED
    assert order.events == [
        OrderCancelled(order_id="ord_1", customer_id="cus_1", occurred_at=LATER)
    ]


def test_an_order_whose_time_is_over_cannot_be_cancelled_any_more() -> None:
    order = an_order()
    with pytest.raises(OrderNotCancellable, match="EXPIRED"):
        order.cancel(order.expire_at)
    assert (order, order.events) == (an_order(), [])


def test_an_order_expires_when_its_time_is_over() -> None:
    order = an_order()
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


def test_an_order_doesnt_expire_before_its_time() -> None:
    order = an_order()
    with pytest.raises(OrderNotExpirable):
        order.expire(order.expire_at - timedelta(microseconds=1))
    assert (order, order.events) == (an_order(), [])


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PENDING_PAYMENT}))
def test_only_an_unpaid_order_is_given_up(status: OrderStatus) -> None:
    order = an_order(status)
    with pytest.raises(OrderNotCancellable, match=status) as refused:
        order.cancel(LATER)
    assert refused.value.subject == "ord_1"
    with pytest.raises(OrderNotExpirable, match=status) as refused_too:
        order.expire(order.expire_at)
    assert refused_too.value.subject == "ord_1"
    assert (order, order.events) == (an_order(status), [])


def test_how_long_an_order_waits_for_its_payment_can_be_set() -> None:
    order = Order.place("ord_1", "cus_1", PRODUCT, ADA, NOW, timedelta(seconds=5))
    assert order.expire_at == NOW + timedelta(seconds=5)


# ProviderNotification


def judged(
    notification: ProviderNotification,
    payment: Payment | None,
    word: Outcome | ChargeNotFound | None = None,
) -> tuple[Outcome | None, str, str]:
    """What the payment is settled by, and what became of the notification."""
    outcome = notification.judge(payment, word)
    return outcome, notification.status, notification.quarantine_reason


@pytest.mark.parametrize("outcome", OUTCOMES.values())
@pytest.mark.parametrize("status", [PROCESSING, UNKNOWN])
def test_a_notification_that_fits_is_taken_at_its_word(
    status: PaymentStatus, outcome: Outcome
) -> None:
    assert judged(told(outcome), a_payment(status)) == (outcome, "PROCESSED", "")


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_notification_of_what_is_known_is_done_with(status: PaymentStatus) -> None:
    outcome = OUTCOMES[status]
    assert judged(told(outcome), a_payment(status)) == (outcome, "PROCESSED", "")


def test_a_notification_of_an_unknown_payment_is_put_aside() -> None:
    assert judged(told(Captured(PRICE)), None) == (None, "QUARANTINED", "UNKNOWN_PAYMENT")


def test_a_notification_of_another_order_is_put_aside() -> None:
    notification = told(Captured(PRICE), order_id="ord_2")
    assert judged(notification, a_payment()) == (None, "QUARANTINED", "ORDER_MISMATCH")


@pytest.mark.parametrize(
    ("amount", "reason"),
    [(SHORT, "AMOUNT_MISMATCH"), (Money(19900, "USD"), "CURRENCY_MISMATCH")],
)
@pytest.mark.parametrize(
    ("word", "settled"),
    [
        (Captured(SHORT), Captured(SHORT)),
        (Captured(PRICE), Captured(PRICE)),
        (Declined("no"), Declined("no")),
        (Accepted(), Accepted()),
        (ChargeNotFound(), None),
        (Captured(Money(19900, "USD")), None),
    ],
)
def test_a_notification_of_another_amount_is_put_aside_and_the_provider_believed(
    amount: Money, reason: str, word: Outcome | ChargeNotFound, settled: Outcome | None
) -> None:
    notification = told(Captured(amount), amount)
    with pytest.raises(ProviderConfirmationNeeded):
        notification.judge(a_payment())
    assert notification.status is ProviderNotificationStatus.RECEIVED
    assert judged(notification, a_payment(), word) == (settled, "QUARANTINED", reason)


@pytest.mark.parametrize(
    ("status", "said", "word", "settled", "became"),
    [
        (CANCELLED, Captured(PRICE), Captured(PRICE), Captured(PRICE), "PROCESSED"),
        (CANCELLED, Captured(PRICE), Cancelled(), Cancelled(), "QUARANTINED"),
        (FAILED, Captured(PRICE), Declined("no"), Declined("no"), "QUARANTINED"),
        (FAILED, Captured(PRICE), Captured(SHORT), Captured(SHORT), "QUARANTINED"),
        (FAILED, Captured(PRICE), ChargeNotFound(), None, "QUARANTINED"),
        (SUCCEEDED, Declined("no"), Captured(PRICE), Captured(PRICE), "QUARANTINED"),
        (SUCCEEDED, Declined("no"), Declined("no"), None, "QUARANTINED"),
        (SUCCEEDED, Cancelled(), Captured(PRICE), Captured(PRICE), "QUARANTINED"),
    ],
)
def test_a_notification_that_contradicts_us_needs_the_providers_own_word(
    status: PaymentStatus, said: Outcome, word: Outcome, settled: Outcome | None, became: str
) -> None:
    notification = told(said)
    with pytest.raises(ProviderConfirmationNeeded) as needed:
        notification.judge(a_payment(status))
    assert needed.value.payment == a_payment(status)
    reason = "CONTRADICTS_PROVIDER" if became == "QUARANTINED" else ""
    assert judged(notification, a_payment(status), word) == (settled, became, reason)


def test_a_notification_of_what_was_never_asked_for_needs_the_providers_own_word() -> None:
    with pytest.raises(ProviderConfirmationNeeded):
        told(Captured(PRICE)).judge(a_payment(PENDING))


@pytest.mark.parametrize("status", ["PROCESSED", "QUARANTINED"])
def test_a_notification_is_judged_once(status: str) -> None:
    notification = told(Captured(PRICE))
    notification.status = ProviderNotificationStatus(status)
    with pytest.raises(ProviderNotificationDone, match=status) as refused:
        notification.judge(a_payment())
    assert refused.value.subject == "pnt_1"
