"""Refund: creation, interview's answer, the provider's outcome."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from payment_svc.domain.access_code_errors import AccessCodeUsed
from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import (
    AmountNotRefundable,
    NoRefundPending,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.refund_errors import RefundFinal, RefundNotReleased, RefundNotWaiting
from payment_svc.domain.refund_events import (
    RefundCompleted,
    RefundFailed,
    RefundRejected,
    RefundRequested,
)
from payment_svc.domain.refunds import (
    Refund,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundProcessing,
    RefundRefused,
    RefundStatus,
    RefundSucceeded,
)
from tests.builders.payment import ADA, LATER, NOW, PRICE, make_access_code, make_paid_order

PART, REST = Money(900, "CNY"), Money(19000, "CNY")
O, R = OrderStatus, RefundStatus  # noqa: E741  short names for the tables below


def make_refund(amount: Money | None = None) -> tuple[Order, AccessCode, Refund]:
    """An order, its code, and a refund that was just created."""
    order, code = make_paid_order(), make_access_code()
    refund = Refund.of_order("ref_1", order, amount, "why not", NOW)
    if refund.waiting:
        refund.hold(code, NOW)
    refund.events.clear()
    code.audit.clear()
    return order, code, refund


def make_released_refund(amount: Money | None = None) -> tuple[Order, AccessCode, Refund]:
    order, code, refund = make_refund(amount)
    if refund.waiting:
        refund.release(NOW)
    return order, code, refund


# The order


@pytest.mark.parametrize("status", sorted(set(O) - {O.PAID, O.PARTIALLY_REFUNDED}))
def test_only_a_paid_order_without_a_pending_refund_can_be_refunded(status: OrderStatus) -> None:
    error = RefundInProgress if status is O.REFUND_PENDING else OrderNotRefundable
    order = make_paid_order(status)
    with pytest.raises(error, match=status) as refused:
        order.begin_refund(None)
    assert refused.value.subject == "ord_1"
    assert order == make_paid_order(status)


@pytest.mark.parametrize(
    "amount", [Money(19001, "CNY"), Money(19000, "USD"), Money(0, "CNY"), Money(-1, "CNY")]
)
def test_an_amount_that_is_not_refundable_is_refused(amount: Money) -> None:
    order = make_paid_order(O.PARTIALLY_REFUNDED, 900)
    with pytest.raises(AmountNotRefundable, match="19000 CNY") as refused:
        order.begin_refund(amount)
    assert refused.value.subject == "ord_1"
    assert order.status is O.PARTIALLY_REFUNDED


@pytest.mark.parametrize("status", sorted(set(O) - {O.REFUND_PENDING}))
def test_only_a_pending_refund_can_end(status: OrderStatus) -> None:
    with pytest.raises(NoRefundPending, match=status):
        make_paid_order(status).end_refund()


@pytest.mark.parametrize(
    ("refunded_before", "amount", "status"),
    [
        (0, 0, O.PAID),
        (0, 1, O.PARTIALLY_REFUNDED),
        (1, 0, O.PARTIALLY_REFUNDED),
        (900, 19000, O.REFUNDED),
        (0, 19900, O.REFUNDED),
    ],
)
def test_without_a_pending_refund_the_status_follows_from_the_refunded_amount(
    refunded_before: int, amount: int, status: OrderStatus
) -> None:
    order = make_paid_order(O.REFUND_PENDING, refunded_before)
    order.end_refund(amount)
    assert (order.status, order.refunded_minor) == (status, refunded_before + amount)


# Creation


@pytest.mark.parametrize("amount", [None, PRICE])
def test_a_full_refund_suspends_the_code_and_requests_an_answer(amount: Money | None) -> None:
    order, code = make_paid_order(), make_access_code()
    refund = Refund.of_order("ref_1", order, amount, "why not", NOW)
    refund.hold(code, NOW)
    assert (refund.full, refund.waiting, refund.released_at) == (True, True, None)
    assert (refund.amount, refund.payment_id) == (PRICE, "pay_1")
    assert (order.status, code.holds, code.version) == (O.REFUND_PENDING, {Hold.REFUND}, 2)
    assert refund.events == [
        RefundRequested(
            record=code.snapshot(), refund_id="ref_1", ask=1, requested_at=NOW, occurred_at=NOW
        )
    ]


def test_a_partial_refund_is_released_without_a_request() -> None:
    order = make_paid_order()
    refund = Refund.of_order("ref_1", order, PART, "", NOW)
    assert (refund.full, refund.waiting, refund.released_at) == (False, False, NOW)
    assert (refund.asks, refund.events, order.status) == (0, [], O.REFUND_PENDING)


@pytest.mark.parametrize("amount", [None, REST])
def test_a_refund_of_the_remaining_amount_is_a_full_refund(amount: Money | None) -> None:
    refund = Refund.of_order("ref_2", make_paid_order(O.PARTIALLY_REFUNDED, 900), amount, "", NOW)
    assert (refund.full, refund.amount, refund.waiting) == (True, REST, True)


def test_a_full_refund_of_a_redeemed_code_is_refused() -> None:
    order, code = make_paid_order(), make_access_code(AccessCodeStatus.REDEEMED)
    refund = Refund.of_order("ref_1", order, None, "", NOW)
    with pytest.raises(AccessCodeUsed):
        refund.hold(code, NOW)
    assert refund.events == []


# Interview's answer


def refund_in_state(status: RefundStatus, *, free: bool = False) -> Refund:
    _, _, refund = make_refund()
    refund.status, refund.released_at = status, NOW if free else None
    return refund


STEPS: dict[str, Callable[[Refund], None]] = {
    "requested again": lambda refund: refund.request_answer(make_access_code(), LATER),
    "released": lambda refund: refund.release(LATER),
    "rejected": lambda refund: refund.reject(
        make_paid_order(O.REFUND_PENDING), make_access_code(), "ses_1", "evt_1", LATER
    ),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("status", RefundStatus)
def test_only_a_waiting_refund_accepts_interviews_answer(
    step: str, status: RefundStatus, free: bool
) -> None:
    refund = refund_in_state(status, free=free)
    if status is R.PENDING and not free:
        STEPS[step](refund)
        return
    with pytest.raises(RefundNotWaiting, match=f"{step}: it is {status}") as refused:
        STEPS[step](refund)
    assert refused.value.subject == "ref_1"
    assert (refund, refund.events) == (refund_in_state(status, free=free), [])


def test_a_released_refund_does_not_wait() -> None:
    _, _, refund = make_released_refund()
    assert (refund.released_at, refund.waiting, refund.status) == (NOW, False, R.PENDING)


@pytest.mark.parametrize(("answered", "rejects"), [("", True), ("ref_1", True), ("ref_0", False)])
def test_a_start_that_answers_another_refund_does_not_reject_this_one(
    answered: str, rejects: bool
) -> None:
    assert make_refund()[2].is_rejected_by(answered) is rejects
    assert make_released_refund()[2].is_rejected_by(answered) is False


def test_a_rejected_refund_restores_order_and_code() -> None:
    order, code, refund = make_refund()
    refund.reject(order, code, "ses_1", "evt_1", LATER)
    assert (refund.status, refund.failure_reason) == (R.REJECTED, "INTERVIEW_STARTED")
    assert (order.status, code.status, refund.final) == (O.PAID, AccessCodeStatus.ACTIVE, True)
    assert refund.events == [
        RefundRejected(
            record=code.snapshot(),
            refund_id="ref_1",
            session_id="ses_1",
            cause_event_id="evt_1",
            occurred_at=LATER,
        )
    ]


def test_a_repeated_request_has_the_present_record() -> None:
    _, code, refund = make_refund()
    code.expire(code.expire_at)
    refund.request_answer(code, LATER)
    [event] = refund.events
    assert isinstance(event, RefundRequested)
    assert (event.ask, event.record, event.requested_at) == (2, code.snapshot(), NOW)
    assert (refund.asks, refund.asked_at) == (2, LATER)


@pytest.mark.parametrize(("seconds", "unanswered"), [(29, False), (30, True)])
def test_a_refund_is_unanswered_for_some_time_after_the_last_request(
    seconds: int, unanswered: bool
) -> None:
    after = timedelta(seconds=30)
    now = NOW + timedelta(seconds=seconds)
    assert make_refund()[2].is_unanswered(now, after) is unanswered
    assert make_released_refund()[2].is_unanswered(now, after) is False


# The provider's outcome

OUTCOMES: dict[RefundStatus, RefundOutcome] = {
    R.SUCCEEDED: RefundSucceeded(),
    R.FAILED: RefundRefused("NO_FUNDS"),
    R.PENDING: RefundProcessing(),
    R.UNKNOWN: RefundOutcomeUnknown(),
}


@pytest.mark.parametrize("after", OUTCOMES)
@pytest.mark.parametrize("before", [R.PENDING, R.UNKNOWN])
def test_a_released_refund_accepts_every_outcome(before: RefundStatus, after: RefundStatus) -> None:
    order, code, refund = make_released_refund()
    refund.status = before
    refund.settle(OUTCOMES[after], order, code, LATER)
    assert (refund.status, refund.final) == (after, after in {R.SUCCEEDED, R.FAILED})
    assert refund.failure_reason == ("NO_FUNDS" if after is R.FAILED else "")
    assert refund.updated_at == (NOW if after is before else LATER)
    assert len(refund.events) == refund.final
    assert (order.status is O.REFUND_PENDING) is not refund.final


@pytest.mark.parametrize("outcome", OUTCOMES.values())
def test_a_waiting_refund_cannot_be_settled(outcome: RefundOutcome) -> None:
    order, code, refund = make_refund()
    with pytest.raises(RefundNotReleased, match="ref_1 cannot be settled: it is PENDING"):
        refund.settle(outcome, order, code, LATER)
    assert refund == make_refund()[2]


@pytest.mark.parametrize("status", [R.SUCCEEDED, R.FAILED, R.REJECTED])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_final_outcome_is_not_replaced(status: RefundStatus, outcome: RefundStatus) -> None:
    """The same outcome or one that is not final changes nothing; another one is refused."""
    order, code, refund = make_released_refund()
    refund.status = status
    if outcome in {R.SUCCEEDED, R.FAILED} and outcome is not status:
        with pytest.raises(RefundFinal, match=f"it is {status}"):
            refund.settle(OUTCOMES[outcome], order, code, LATER)
    else:
        refund.settle(OUTCOMES[outcome], order, code, LATER)
    assert (refund.status, refund.events, order.status) == (status, [], O.REFUND_PENDING)


def test_a_full_refund_that_succeeds_sets_the_final_state_of_order_and_code() -> None:
    order, code, refund = make_released_refund()
    refund.settle(RefundSucceeded(), order, code, LATER)
    assert (order.status, order.refunded) == (O.REFUNDED, PRICE)
    assert (code.status, code.version) == (AccessCodeStatus.REVOKED, 3)
    assert refund.events == [
        RefundCompleted(
            order_id="ord_1",
            record=code.snapshot(),
            refund_id="ref_1",
            payment_id="pay_1",
            amount=PRICE,
            full=True,
            surplus=False,
            customer_id="cus_1",
            recipient=ADA,
            occurred_at=LATER,
        )
    ]


def test_a_partial_refund_does_not_change_the_code() -> None:
    order, code, refund = make_released_refund(PART)
    refund.settle(RefundSucceeded(), order, code, LATER)
    assert (order.status, order.refundable, code) == (
        O.PARTIALLY_REFUNDED,
        REST,
        make_access_code(),
    )
    [event] = refund.events
    assert isinstance(event, RefundCompleted)
    assert (event.full, event.amount, event.record) == (False, PART, code.snapshot())


def test_a_refused_full_refund_lifts_the_hold() -> None:
    order, code, refund = make_released_refund()
    refund.settle(RefundRefused("NO_FUNDS"), order, code, LATER)
    assert (order.status, code.status, code.version) == (O.PAID, AccessCodeStatus.ACTIVE, 3)
    assert refund.events == [
        RefundFailed(
            order_id="ord_1",
            record=code.snapshot(),
            refund_id="ref_1",
            failure_reason="NO_FUNDS",
            occurred_at=LATER,
        )
    ]


def test_a_refused_partial_refund_does_not_change_the_code() -> None:
    order, code, refund = make_released_refund(PART)
    refund.settle(RefundRefused("NO_FUNDS"), order, code, LATER)
    assert (order.status, code) == (O.PAID, make_access_code())


@pytest.mark.parametrize("status", sorted(O))
@pytest.mark.parametrize("outcome", [RefundSucceeded(), RefundRefused("NO_FUNDS")])
@pytest.mark.parametrize("code", [None, make_access_code()])
def test_a_refund_of_surplus_money_changes_neither_order_nor_code(
    status: OrderStatus, outcome: RefundOutcome, code: AccessCode | None
) -> None:
    order = make_paid_order(status)
    refund = Refund.of_surplus("ref_9", "ord_1", "pay_9", PRICE, NOW)
    refund.settle(outcome, order, code, LATER)
    assert order == make_paid_order(status)
    [event] = refund.events
    assert isinstance(event, RefundCompleted | RefundFailed)
    assert event.record == (code.snapshot() if code else None)
    assert code is None or code == make_access_code()


@pytest.mark.parametrize("status", RefundStatus)
def test_an_open_refund_is_overdue_after_some_time(status: RefundStatus) -> None:
    refund = refund_in_state(status, free=True)
    wait = timedelta(minutes=15)
    is_open = status in {R.PENDING, R.UNKNOWN}
    assert refund.is_overdue(NOW + wait, wait) is is_open
    assert refund.is_overdue(NOW + wait - timedelta(seconds=1), wait) is False
