"""Payment: submission, outcomes, and captured money."""

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.payment_errors import (
    PaymentFinal,
    PaymentNotSubmitted,
    WrongCurrencyCaptured,
)
from payment_svc.domain.payment_events import PaymentFailed
from payment_svc.domain.payments import (
    FINAL,
    WRONG_AMOUNT,
    Accepted,
    Cancelled,
    Captured,
    Declined,
    Outcome,
    OutcomeUnknown,
    PaymentStatus,
)
from tests.builders.payment import LATER, NOW, OUTCOMES, PRICE, make_payment

SHORT = Money(19899, "CNY")
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


@pytest.mark.parametrize("status", PaymentStatus)
def test_a_payment_is_final_with_a_final_status(status: PaymentStatus) -> None:
    assert make_payment(status).final is (status.name in {"SUCCEEDED", "FAILED", "CANCELLED"})


@pytest.mark.parametrize("before", [PENDING, PROCESSING, UNKNOWN])
def test_a_submitted_payment_is_processing(before: PaymentStatus) -> None:
    """The change of `updated_at` keeps the reconciliation from a request in progress."""
    payment = make_payment(before)
    payment.submit(LATER)
    assert (payment.status, payment.updated_at) == (PROCESSING, LATER)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_final_payment_cannot_be_submitted(status: PaymentStatus) -> None:
    payment = make_payment(status)
    with pytest.raises(PaymentFinal, match=status) as refused:
        payment.submit(LATER)
    assert refused.value.subject == "pay_1"
    assert payment == make_payment(status)


@pytest.mark.parametrize("outcome", OUTCOMES.values())
def test_a_payment_that_was_not_submitted_cannot_be_settled(outcome: Outcome) -> None:
    payment = make_payment(PENDING)
    assert not payment.accepts(outcome)
    with pytest.raises(PaymentNotSubmitted, match="PENDING") as refused:
        payment.settle(outcome, LATER)
    assert refused.value.subject == "pay_1"
    assert payment == make_payment(PENDING)


@pytest.mark.parametrize("after", OUTCOMES)
@pytest.mark.parametrize("before", [PROCESSING, UNKNOWN])
def test_an_open_payment_accepts_every_outcome(before: PaymentStatus, after: PaymentStatus) -> None:
    payment = make_payment(before)
    assert payment.accepts(OUTCOMES[after])
    captured = payment.settle(OUTCOMES[after], LATER)
    assert payment.status is after
    assert captured == payment.captured == (PRICE if after is SUCCEEDED else None)
    assert payment.updated_at == (NOW if after is before else LATER)
    assert payment.failure_reason == ("no funds" if after is FAILED else "")


@pytest.mark.parametrize("after", OUTCOMES)
def test_only_a_declined_payment_publishes_its_failure(after: PaymentStatus) -> None:
    payment = make_payment()
    payment.settle(OUTCOMES[after], LATER)
    failed = PaymentFailed(
        order_id="ord_1", payment_id="pay_1", failure_reason="no funds", occurred_at=LATER
    )
    assert payment.events == ([failed] if after is FAILED else [])


@pytest.mark.parametrize("before", [PROCESSING, UNKNOWN])
@pytest.mark.parametrize("amount", [SHORT, Money(19901, "CNY")])
def test_a_wrong_amount_fails_the_payment(before: PaymentStatus, amount: Money) -> None:
    """The captured amount is recorded, so that it is refunded."""
    payment = make_payment(before)
    assert payment.settle(Captured(amount), LATER) == amount
    assert (payment.status, payment.failure_reason) == (FAILED, WRONG_AMOUNT)
    assert payment.captured == amount
    assert [event.failure_reason for event in payment.events] == [WRONG_AMOUNT]
    assert payment.settle(Captured(amount), LATER) is None
    assert len(payment.events) == 1


@pytest.mark.parametrize("status", [PROCESSING, *sorted(FINAL)])
def test_a_wrong_currency_is_refused(status: PaymentStatus) -> None:
    payment, dollars = make_payment(status), Captured(Money(19900, "USD"))
    assert not payment.accepts(dollars)
    with pytest.raises(WrongCurrencyCaptured, match="USD"):
        payment.settle(dollars, LATER)
    assert payment == make_payment(status)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_repeated_outcome_changes_nothing(status: PaymentStatus) -> None:
    payment = make_payment(status)
    assert not payment.contradicts(OUTCOMES[status])
    assert payment.settle(OUTCOMES[status], LATER) is None
    assert payment == make_payment(status)
    assert payment.events == []


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("outcome", [Accepted(), OutcomeUnknown()])
def test_an_outcome_that_is_not_final_does_not_undo_a_final_one(
    status: PaymentStatus, outcome: Outcome
) -> None:
    """Responses and notifications can arrive in any order."""
    payment = make_payment(status)
    assert not payment.contradicts(outcome)
    assert payment.settle(outcome, LATER) is None
    assert payment == make_payment(status)


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
def test_an_outcome_that_contradicts_a_final_one_is_refused(
    before: PaymentStatus, outcome: Outcome
) -> None:
    payment = make_payment(before)
    assert payment.contradicts(outcome)
    assert not payment.accepts(outcome)
    with pytest.raises(PaymentFinal, match=before) as refused:
        payment.settle(outcome, LATER)
    assert refused.value.subject == "pay_1"
    assert payment == make_payment(before)


@pytest.mark.parametrize("before", [FAILED, CANCELLED])
@pytest.mark.parametrize("amount", [PRICE, SHORT])
def test_money_captured_after_a_final_outcome_is_recorded_without_a_change_of_status(
    before: PaymentStatus, amount: Money
) -> None:
    """A repeat returns None, and another amount or outcome is refused."""
    payment = make_payment(before)
    assert payment.contradicts(Captured(amount))
    assert payment.accepts(Captured(amount))
    assert payment.settle(Captured(amount), LATER) == amount
    assert (payment.status, payment.captured, payment.events) == (before, amount, [])
    assert payment.settle(Captured(amount), LATER) is None
    with pytest.raises(PaymentFinal):
        payment.settle(Captured(Money(1, "CNY")), LATER)
    with pytest.raises(PaymentFinal):
        payment.settle(OUTCOMES[before], LATER)
