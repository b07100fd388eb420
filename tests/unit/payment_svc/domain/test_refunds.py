"""Refunds: given a state, when a verb, then a state and events, or a refusal."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from payment_svc.domain.access_code_errors import AccessCodeUsed
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus, Hold
from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    AmountNotLeft,
    NoRefundPending,
    Order,
    OrderNotRefundable,
    OrderStatus,
    Recipient,
    RefundInProgress,
)
from payment_svc.domain.products import Product
from payment_svc.domain.refund_events import (
    RefundCompleted,
    RefundFailed,
    RefundRejected,
    RefundRequested,
)
from payment_svc.domain.refunds import (
    PaidBack,
    Refund,
    RefundFinal,
    RefundNotReleased,
    RefundNotWaiting,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundProcessing,
    RefundRefused,
    RefundStatus,
)

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
PRICE = Money(19900, "CNY")
PART, REST = Money(900, "CNY"), Money(19000, "CNY")
O, R = OrderStatus, RefundStatus  # noqa: E741  the table below is to fit a line


def an_order(status: OrderStatus = O.PAID, refunded_minor: int = 0) -> Order:
    product = Product("backend-60", "", "", PRICE, timedelta(days=30))
    order = Order.place("ord_1", "cus_1", product, Recipient("a@b.org", "Ada", "en"), NOW)
    order.status, order.refunded_minor, order.payment_id = status, refunded_minor, "pay_1"
    order.paid_at, order.access_code_id = NOW, "acc_1"
    return order


def a_code(status: AccessCodeStatus = AccessCodeStatus.ACTIVE) -> AccessCode:
    expiry = NOW + timedelta(days=30)
    return AccessCode("acc_1", "code", "ord_1", "backend-60", expiry, NOW, status)


def begun(amount: Money | None = None) -> tuple[Order, AccessCode, Refund]:
    """A refund of an order, as it is just after it was asked for."""
    order, code = an_order(), a_code()
    refund = Refund.of_order("ref_1", order, amount, "why not", NOW)
    if refund.waiting:
        refund.hold(code, NOW)
    refund.events.clear()
    code.audit.clear()
    return order, code, refund


def released(amount: Money | None = None) -> tuple[Order, AccessCode, Refund]:
    order, code, refund = begun(amount)
    if refund.waiting:
        refund.release(NOW)
    return order, code, refund


# The order


@pytest.mark.parametrize("status", sorted(set(O) - {O.PAID, O.PARTIALLY_REFUNDED}))
def test_only_a_paid_order_that_waits_for_no_refund_can_be_refunded(status: OrderStatus) -> None:
    error = RefundInProgress if status is O.REFUND_PENDING else OrderNotRefundable
    order = an_order(status)
    with pytest.raises(error, match=status) as refused:
        order.begin_refund(None)
    assert refused.value.subject == "ord_1"
    assert order == an_order(status)


@pytest.mark.parametrize(
    "amount", [Money(19001, "CNY"), Money(19000, "USD"), Money(0, "CNY"), Money(-1, "CNY")]
)
def test_no_more_than_is_left_can_be_refunded(amount: Money) -> None:
    order = an_order(O.PARTIALLY_REFUNDED, 900)
    with pytest.raises(AmountNotLeft, match="19000 CNY") as refused:
        order.begin_refund(amount)
    assert refused.value.subject == "ord_1"
    assert order.status is O.PARTIALLY_REFUNDED


@pytest.mark.parametrize("status", sorted(set(O) - {O.REFUND_PENDING}))
def test_only_a_pending_refund_can_end(status: OrderStatus) -> None:
    with pytest.raises(NoRefundPending, match=status):
        an_order(status).end_refund()


@pytest.mark.parametrize(
    ("refunded", "paid_back", "status"),
    [
        (0, 0, O.PAID),
        (0, 1, O.PARTIALLY_REFUNDED),
        (1, 0, O.PARTIALLY_REFUNDED),
        (900, 19000, O.REFUNDED),
        (0, 19900, O.REFUNDED),
    ],
)
def test_with_no_refund_pending_the_status_follows_from_the_sum(
    refunded: int, paid_back: int, status: OrderStatus
) -> None:
    order = an_order(O.REFUND_PENDING, refunded)
    order.end_refund(paid_back)
    assert (order.status, order.refunded_minor) == (status, refunded + paid_back)


# Its beginning


@pytest.mark.parametrize("amount", [None, PRICE])
def test_a_full_refund_holds_the_code_and_asks(amount: Money | None) -> None:
    order, code = an_order(), a_code()
    refund = Refund.of_order("ref_1", order, amount, "why not", NOW)
    refund.hold(code, NOW)
    assert (refund.full, refund.waiting, refund.released_at) == (True, True, None)
    assert (refund.amount, refund.payment_id) == (PRICE, "pay_1")
    assert (order.status, code.holds, code.version) == (O.REFUND_PENDING, {Hold.REFUND}, 2)
    assert refund.events == [
        RefundRequested(record=code, refund_id="ref_1", ask=1, requested_at=NOW, occurred_at=NOW)
    ]


def test_a_part_goes_at_once_and_asks_nobody() -> None:
    order = an_order()
    refund = Refund.of_order("ref_1", order, PART, "", NOW)
    assert (refund.full, refund.waiting, refund.released_at) == (False, False, NOW)
    assert (refund.asks, refund.events, order.status) == (0, [], O.REFUND_PENDING)


@pytest.mark.parametrize("amount", [None, REST])
def test_a_part_that_reaches_the_total_is_a_full_refund(amount: Money | None) -> None:
    refund = Refund.of_order("ref_2", an_order(O.PARTIALLY_REFUNDED, 900), amount, "", NOW)
    assert (refund.full, refund.amount, refund.waiting) == (True, REST, True)


def test_a_full_refund_of_a_used_code_is_refused() -> None:
    order, code = an_order(), a_code(AccessCodeStatus.REDEEMED)
    refund = Refund.of_order("ref_1", order, None, "", NOW)
    with pytest.raises(AccessCodeUsed):
        refund.hold(code, NOW)
    assert refund.events == []


# Interview's word


def in_state(status: RefundStatus, *, free: bool = False) -> Refund:
    _, _, refund = begun()
    refund.status, refund.released_at = status, NOW if free else None
    return refund


STEPS: dict[str, Callable[[Refund], None]] = {
    "asked about": lambda refund: refund.ask(a_code(), LATER),
    "released": lambda refund: refund.release(LATER),
    "rejected": lambda refund: refund.reject(
        an_order(O.REFUND_PENDING), a_code(), "ses_1", "evt_1", LATER
    ),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("status", RefundStatus)
def test_interviews_word_matters_only_to_a_refund_that_waits(
    step: str, status: RefundStatus, free: bool
) -> None:
    refund = in_state(status, free=free)
    if status is R.PENDING and not free:
        STEPS[step](refund)
        return
    with pytest.raises(RefundNotWaiting, match=f"{status}.*{step}") as refused:
        STEPS[step](refund)
    assert refused.value.subject == "ref_1"
    assert (refund, refund.events) == (in_state(status, free=free), [])


def test_a_released_refund_waits_no_more() -> None:
    _, _, refund = released()
    assert (refund.released_at, refund.waiting, refund.status) == (NOW, False, R.PENDING)


@pytest.mark.parametrize(("cited", "rejects"), [("", True), ("ref_1", True), ("ref_0", False)])
def test_a_start_that_answers_another_refund_rejects_none(cited: str, rejects: bool) -> None:
    assert begun()[2].is_rejected_by(cited) is rejects
    assert released()[2].is_rejected_by(cited) is False


def test_a_rejected_refund_gives_order_and_code_back() -> None:
    order, code, refund = begun()
    refund.reject(order, code, "ses_1", "evt_1", LATER)
    assert (refund.status, refund.failure_reason) == (R.REJECTED, "INTERVIEW_STARTED")
    assert (order.status, code.status, refund.final) == (O.PAID, AccessCodeStatus.ACTIVE, True)
    assert refund.events == [
        RefundRejected(
            record=code,
            refund_id="ref_1",
            session_id="ses_1",
            cause_event_id="evt_1",
            occurred_at=LATER,
        )
    ]


def test_interview_is_asked_again_with_the_record_as_it_is_then() -> None:
    _, code, refund = begun()
    code.expire(code.expire_at)
    refund.ask(code, LATER)
    [event] = refund.events
    assert isinstance(event, RefundRequested)
    assert (event.ask, event.record, event.requested_at) == (2, code, NOW)
    assert (refund.asks, refund.asked_at) == (2, LATER)


@pytest.mark.parametrize(("seconds", "unanswered"), [(29, False), (30, True)])
def test_a_refund_is_unanswered_some_time_after_the_last_ask(
    seconds: int, unanswered: bool
) -> None:
    after = timedelta(seconds=30)
    now = NOW + timedelta(seconds=seconds)
    assert begun()[2].is_unanswered(now, after) is unanswered
    assert released()[2].is_unanswered(now, after) is False


# The provider's word

OUTCOMES: dict[RefundStatus, RefundOutcome] = {
    R.SUCCEEDED: PaidBack(),
    R.FAILED: RefundRefused("NO_FUNDS"),
    R.PENDING: RefundProcessing(),
    R.UNKNOWN: RefundOutcomeUnknown(),
}


@pytest.mark.parametrize("after", OUTCOMES)
@pytest.mark.parametrize("before", [R.PENDING, R.UNKNOWN])
def test_a_released_refund_takes_what_the_provider_says(
    before: RefundStatus, after: RefundStatus
) -> None:
    order, code, refund = released()
    refund.status = before
    refund.settle(OUTCOMES[after], order, code, LATER)
    assert (refund.status, refund.final) == (after, after in {R.SUCCEEDED, R.FAILED})
    assert refund.failure_reason == ("NO_FUNDS" if after is R.FAILED else "")
    assert refund.updated_at == (NOW if after is before else LATER)
    assert len(refund.events) == refund.final
    assert (order.status is O.REFUND_PENDING) is not refund.final


@pytest.mark.parametrize("outcome", OUTCOMES.values())
def test_a_refund_that_waits_for_interview_has_no_outcome(outcome: RefundOutcome) -> None:
    order, code, refund = begun()
    with pytest.raises(RefundNotReleased, match="ref_1 is PENDING"):
        refund.settle(outcome, order, code, LATER)
    assert refund == begun()[2]


@pytest.mark.parametrize("status", [R.SUCCEEDED, R.FAILED, R.REJECTED])
@pytest.mark.parametrize("told", OUTCOMES)
def test_an_outcome_is_final(status: RefundStatus, told: RefundStatus) -> None:
    """The same or less again changes nothing; another one is refused."""
    order, code, refund = released()
    refund.status = status
    if told in {R.SUCCEEDED, R.FAILED} and told is not status:
        with pytest.raises(RefundFinal, match=f"ref_1 is {status}"):
            refund.settle(OUTCOMES[told], order, code, LATER)
    else:
        refund.settle(OUTCOMES[told], order, code, LATER)
    assert (refund.status, refund.events, order.status) == (status, [], O.REFUND_PENDING)


def test_a_full_refund_that_succeeds_ends_order_and_code() -> None:
    order, code, refund = released()
    refund.settle(PaidBack(), order, code, LATER)
    assert (order.status, order.refunded) == (O.REFUNDED, PRICE)
    assert (code.status, code.version) == (AccessCodeStatus.REVOKED, 3)
    assert refund.events == [
        RefundCompleted(
            order_id="ord_1",
            record=code,
            refund_id="ref_1",
            payment_id="pay_1",
            amount=PRICE,
            full=True,
            surplus=False,
            holder=order.holder,
            occurred_at=LATER,
        )
    ]


def test_a_part_paid_back_leaves_the_code_as_it_is() -> None:
    order, code, refund = released(PART)
    refund.settle(PaidBack(), order, code, LATER)
    assert (order.status, order.left, code) == (O.PARTIALLY_REFUNDED, REST, a_code())
    [event] = refund.events
    assert isinstance(event, RefundCompleted)
    assert (event.full, event.amount, event.record) == (False, PART, code)


def test_a_definite_refusal_lifts_the_hold() -> None:
    order, code, refund = released()
    refund.settle(RefundRefused("NO_FUNDS"), order, code, LATER)
    assert (order.status, code.status, code.version) == (O.PAID, AccessCodeStatus.ACTIVE, 3)
    assert refund.events == [
        RefundFailed(
            order_id="ord_1",
            record=code,
            refund_id="ref_1",
            failure_reason="NO_FUNDS",
            occurred_at=LATER,
        )
    ]


def test_a_part_refused_leaves_the_code_as_it_is() -> None:
    order, code, refund = released(PART)
    refund.settle(RefundRefused("NO_FUNDS"), order, code, LATER)
    assert (order.status, code) == (O.PAID, a_code())


@pytest.mark.parametrize("status", sorted(O))
@pytest.mark.parametrize("outcome", [PaidBack(), RefundRefused("NO_FUNDS")])
@pytest.mark.parametrize("code", [None, a_code()])
def test_surplus_money_goes_back_without_a_word_about_order_and_code(
    status: OrderStatus, outcome: RefundOutcome, code: AccessCode | None
) -> None:
    order = an_order(status)
    refund = Refund.of_surplus("ref_9", "ord_1", "pay_9", PRICE, NOW)
    refund.settle(outcome, order, code, LATER)
    assert order == an_order(status)
    [event] = refund.events
    assert isinstance(event, RefundCompleted | RefundFailed)
    assert event.record == code
    assert code is None or code == a_code()


@pytest.mark.parametrize("status", RefundStatus)
def test_a_refund_without_outcome_is_overdue_after_a_while(status: RefundStatus) -> None:
    refund = in_state(status, free=True)
    wait = timedelta(minutes=15)
    open_ = status in {R.PENDING, R.UNKNOWN}
    assert refund.is_overdue(NOW + wait, wait) is open_
    assert refund.is_overdue(NOW + wait - timedelta(seconds=1), wait) is False
