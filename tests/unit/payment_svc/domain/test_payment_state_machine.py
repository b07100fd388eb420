"""Arbitrary outcomes of a payment in any order: the diagram holds, and money counts once."""

from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.money import Money
from payment_svc.domain.payment_errors import (
    PaymentFinal,
    PaymentNotSubmitted,
    WrongCurrencyCaptured,
)
from payment_svc.domain.payment_events import PaymentFailed
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    ChargeNotFound,
    Declined,
    Outcome,
    OutcomeUnknown,
    Payment,
)
from tests.builders.payment import NOW, PRICE
from tests.unit.state_machines import (
    PAYMENT,
    STATE_MACHINE_SETTINGS,
    assert_refused,
    assert_unchanged,
    final_states,
    is_allowed,
    take_all,
)

FINAL = final_states(PAYMENT)
WRONG = Money(PRICE.amount_minor - 1, "CNY")
FOREIGN = Money(PRICE.amount_minor, "USD")
OUTCOMES: list[Outcome] = [
    Captured(PRICE),
    Captured(WRONG),
    Captured(FOREIGN),
    Declined("no"),
    Declined("never"),
    Cancelled(),
    Accepted(),
    OutcomeUnknown(),
]
# The status and failure reason of an open payment after an outcome.
RESULTS = {
    Captured(PRICE): ("SUCCEEDED", ""),
    Captured(WRONG): ("FAILED", "WRONG_AMOUNT_CAPTURED"),
    Declined("no"): ("FAILED", "no"),
    Declined("never"): ("FAILED", "never"),
    Cancelled(): ("CANCELLED", ""),
    Accepted(): ("PROCESSING", ""),
    OutcomeUnknown(): ("UNKNOWN", ""),
}

moments = st.sampled_from([NOW, NOW + timedelta(hours=1), NOW + timedelta(days=90)])


class PaymentStateMachine(RuleBasedStateMachine):
    """One payment: submitted and settled repeatedly, also after a final outcome."""

    @initialize(submitted=st.booleans(), outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=2))
    def create(self, outcomes: list[Outcome], *, submitted: bool) -> None:
        """A new payment, or a submitted one after some outcomes."""
        self.payment = Payment("pay_1", "ord_1", PRICE, "card", "me", "r", b"", NOW, NOW)
        self.status, self.reason = "PENDING", ""
        self.captured: Money | None = None
        self.reported: list[Money] = []
        if submitted:
            self.submit(NOW)
            for outcome in outcomes:
                self.settle(outcome, NOW)

    @rule(now=moments)
    def submit(self, now: datetime) -> None:
        """A payment can be submitted again until its outcome is final."""
        if self.status in FINAL:
            assert_refused(PaymentFinal, "pay_1", lambda: self.payment.submit(now), self.payment)
        else:
            self.payment.submit(now)
            self.status = "PROCESSING"
            assert self.payment.updated_at == now

    @rule(outcome=st.sampled_from(OUTCOMES), now=moments)
    def settle(self, outcome: Outcome, now: datetime) -> None:
        """The first final outcome counts; later ones only if they captured money, and once."""
        amount = outcome.amount if isinstance(outcome, Captured) else None
        if self.status == "PENDING":
            self._assert_refuses(PaymentNotSubmitted, outcome, now)
        elif amount == FOREIGN:
            self._assert_refuses(WrongCurrencyCaptured, outcome, now)
        elif self.status not in FINAL:
            self._assert_settles(outcome, amount, now)
        elif self._is_known(outcome):
            assert assert_unchanged(lambda: self.payment.settle(outcome, now), self.payment) is None
        elif amount and self.captured is None:
            self._assert_captures(outcome, amount, now)
        else:
            self._assert_refuses(PaymentFinal, outcome, now)

    def _is_known(self, outcome: Outcome) -> bool:
        """Whether a final payment has this outcome, or the outcome is not final."""
        if isinstance(outcome, Captured):
            return self.captured == outcome.amount
        same = RESULTS[outcome][0] == self.status and self.captured is None
        return same or isinstance(outcome, (Accepted, OutcomeUnknown))

    def _assert_settles(self, outcome: Outcome, amount: Money | None, now: datetime) -> None:
        to, reason = RESULTS[outcome]
        assert is_allowed(PAYMENT, self.status, to)
        self.status, self.reason = to, reason
        self._assert_captures(outcome, amount, now)
        failed = PaymentFailed(
            order_id="ord_1", payment_id="pay_1", failure_reason=reason, occurred_at=now
        )
        assert take_all(self.payment.events) == [failed] * (to == "FAILED")

    def _assert_captures(self, outcome: Outcome, amount: Money | None, now: datetime) -> None:
        self.captured = amount
        assert self.payment.accepts(outcome)
        reported = self.payment.settle(outcome, now)
        assert reported == amount
        self.reported += [reported] if reported else []

    def _assert_refuses(self, error: type[Exception], outcome: Outcome, now: datetime) -> None:
        assert not self.payment.accepts(outcome)
        assert_refused(error, "pay_1", lambda: self.payment.settle(outcome, now), self.payment)

    @rule(outcome=st.sampled_from([*OUTCOMES, ChargeNotFound()]))
    def query(self, outcome: Outcome | ChargeNotFound) -> None:
        """Queries change nothing; a missing charge is not an outcome."""
        accepts = assert_unchanged(lambda: self.payment.accepts(outcome), self.payment)
        assert not (accepts and isinstance(outcome, ChargeNotFound))
        if not isinstance(outcome, ChargeNotFound):
            assert_unchanged(lambda: self.payment.contradicts(outcome), self.payment)

    @invariant()
    def payment_matches_the_model(self) -> None:
        """No event is unexpected."""
        payment = self.payment
        assert (payment.status, payment.failure_reason) == (self.status, self.reason)
        assert (payment.captured, payment.final) == (self.captured, self.status in FINAL)
        assert payment.events == []

    @invariant()
    def captured_money_is_reported_once(self) -> None:
        """`settle` returns captured money once; SUCCEEDED means that the price was captured."""
        assert self.reported == [self.captured] * (self.captured is not None)
        if self.payment.status == "SUCCEEDED":
            assert self.payment.captured == PRICE
        if self.payment.status in {"PENDING", "PROCESSING", "UNKNOWN"}:
            assert self.payment.captured is None


TestPaymentStateMachine = PaymentStateMachine.TestCase
TestPaymentStateMachine.settings = STATE_MACHINE_SETTINGS
