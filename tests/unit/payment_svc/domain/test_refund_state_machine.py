"""Arbitrary steps of an order's refunds: the diagram, and the effects on order and code hold."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.access_code_errors import AccessCodeUsed, IllegalAccessCodeTransition
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import (
    AmountNotRefundable,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.orders import Order
from payment_svc.domain.products import Product
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
    RefundSucceeded,
)
from tests.builders.payment import ADA, NOW, OPERATOR
from tests.unit.state_machines import (
    REFUND,
    STATE_MACHINE_SETTINGS,
    all_fields,
    assert_refused,
    assert_unchanged,
    final_states,
    is_allowed,
    take_all,
)

FINAL = final_states(REFUND)
LIVE = {"ACTIVE", "SUSPENDED"}
PRICE = Money(3, "CNY")
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
EXPIRE_AT = NOW + timedelta(days=30)
RESULTS = {
    RefundSucceeded(): "SUCCEEDED",
    RefundRefused("closed"): "FAILED",
    RefundRefused("gone"): "FAILED",
    RefundProcessing(): "PENDING",
    RefundOutcomeUnknown(): "UNKNOWN",
}

moments = st.sampled_from([NOW, EXPIRE_AT - timedelta(microseconds=1), EXPIRE_AT])
amounts = st.builds(Money, st.integers(-1, 4), st.sampled_from(["CNY", "CNY", "CNY", "USD"]))


@dataclass
class Model:
    """A refund's state by the diagram."""

    amount: int
    full: bool
    surplus: bool
    released: bool
    status: str = "PENDING"
    asks: int = 0

    @property
    def waiting(self) -> bool:
        return self.full and self.status == "PENDING" and not self.released


class RefundStateMachine(RuleBasedStateMachine):
    """One paid order with its code: refunds of its price and of surplus money, all actions."""

    numbers = Bundle("numbers")

    @initialize(target=numbers, steps=st.integers(0, 5), first=amounts, second=st.none() | amounts)
    def pay_order(self, steps: int, first: Money, second: Money | None) -> int:
        """A paid order, possibly after a partial and a second refund, each step repeated."""
        self.order = Order.create("ord_1", "cus_1", PRODUCT, ADA, NOW)
        self.code = AccessCode("acc_1", "c", "ord_1", "behavioral-30", EXPIRE_AT, NOW)
        self.order.complete_payment("pay_1", self.code, NOW)
        self.order.events.clear()
        self.refunds: list[Refund] = []
        self.models: list[Model] = []
        typical: list[Callable[[], object]] = [
            lambda: self.create(first, NOW),
            lambda: self.settle(0, RefundSucceeded(), NOW),
            lambda: self.create(second, NOW),
            lambda: self.release(len(self.refunds) - 1, NOW),
            lambda: self.settle(len(self.refunds) - 1, RefundSucceeded(), NOW),
        ]
        for step in typical[:steps]:
            step()
            step()
        return max(0, len(self.refunds) - 1)

    # Creation

    @rule(target=numbers, amount=st.none() | amounts, now=moments)
    def create(self, amount: Money | None, now: datetime) -> int:
        """One refund of the price at a time; a full one suspends the code, others are released."""
        refunded = sum(m.amount for m in self._of_price("SUCCEEDED"))
        refundable = PRICE.amount_minor - refunded
        wanted = amount or Money(refundable, "CNY")
        if [*self._of_price("PENDING"), *self._of_price("UNKNOWN")]:
            return self._assert_refused(RefundInProgress, amount)
        if not refundable:
            return self._assert_refused(OrderNotRefundable, amount)
        if wanted.currency_code != "CNY" or not 1 <= wanted.amount_minor <= refundable:
            return self._assert_refused(AmountNotRefundable, amount)
        full = wanted.amount_minor == refundable
        if full and self.code.status == "REDEEMED":
            return self._assert_code_used(now)
        refund = Refund.of_order(self._new_id(), self.order, amount, "why", now)
        self._add(refund, Model(wanted.amount_minor, full, surplus=False, released=not full))
        if full:
            self._assert_holds(refund, now)
        return len(self.refunds) - 1

    def _assert_refused(self, error: type[Exception], amount: Money | None) -> int:
        def begin() -> None:
            Refund.of_order("ref", self.order, amount, "why", NOW)

        assert_refused(error, "ord_1", begin, self.order)
        return 0

    def _assert_code_used(self, now: datetime) -> int:
        """On a copy of the order: a use case that fails does not save it."""
        refund = Refund.of_order("ref", deepcopy(self.order), None, "why", now)
        assert_refused(
            AccessCodeUsed, "acc_1", lambda: refund.hold(self.code, now), refund, self.code
        )
        return 0

    def _assert_holds(self, refund: Refund, now: datetime) -> None:
        status, version = self.code.status, self.code.version
        refund.hold(self.code, now)
        self.models[-1].asks = 1
        assert self.code.status == ("SUSPENDED" if status in LIVE else status)
        assert self.code.version == version + 1
        self._assert_event(refund, RefundRequested, now)

    @rule(target=numbers, minor=st.integers(1, 4), now=moments)
    def create_surplus(self, minor: int, now: datetime) -> int:
        """In any state of the order, which does not change."""
        before = all_fields(self.order, self.code)
        captured = Money(minor, "CNY")
        refund = Refund.of_surplus(self._new_id(), "ord_1", "pay_2", captured, now)
        assert all_fields(self.order, self.code) == before
        self._add(refund, Model(minor, full=False, surplus=True, released=True))
        return len(self.refunds) - 1

    def _add(self, refund: Refund, model: Model) -> None:
        self.refunds.append(refund)
        self.models.append(model)

    def _new_id(self) -> str:
        return f"ref_{len(self.refunds)}"

    def _of_price(self, status: str) -> list[Model]:
        return [m for m in self.models if m.status == status and not m.surplus]

    # Interview's answer

    @rule(n=numbers, now=moments)
    def request_answer(self, n: int, now: datetime) -> None:
        """A request can be repeated while the refund waits."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]
        before = all_fields(self.code, self.order)
        if model.waiting:
            refund.request_answer(self.code, now)
            model.asks += 1
            event = self._assert_event(refund, RefundRequested, now)
            assert (event.ask, refund.asked_at) == (model.asks, now)
        else:
            self._assert_not_waiting(refund, lambda: refund.request_answer(self.code, now))
        assert all_fields(self.code, self.order) == before

    @rule(n=numbers, now=moments)
    def release(self, n: int, now: datetime) -> None:
        """Only a waiting refund is released, and nothing else changes."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]
        before = all_fields(self.code, self.order)
        if model.waiting:
            refund.release(now)
            model.released = True
            assert refund.released_at == now
        else:
            self._assert_not_waiting(refund, lambda: refund.release(now))
        assert all_fields(self.code, self.order) == before

    @rule(n=numbers, now=moments)
    def reject(self, n: int, now: datetime) -> None:
        """A waiting refund is REJECTED, its hold lifted, and the order restored."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]

        def step() -> None:
            refund.reject(self.order, self.code, "ses_1", "evt_1", now)

        if not model.waiting:
            self._assert_not_waiting(refund, step)
            return
        self._assert_lifts_hold(step, now)
        model.status = "REJECTED"
        event = self._assert_event(refund, RefundRejected, now)
        assert (event.session_id, event.cause_event_id) == ("ses_1", "evt_1")

    def _assert_not_waiting(self, refund: Refund, step: Callable[[], object]) -> None:
        assert_refused(RefundNotWaiting, refund.refund_id, step, refund, self.order, self.code)

    # The provider's outcome

    @rule(n=numbers, outcome=st.sampled_from(list(RESULTS)), now=moments)
    def settle(self, n: int, outcome: RefundOutcome, now: datetime) -> None:
        """Only a released refund can be settled; the first final outcome counts."""
        if not self.refunds:
            return
        refund, model, to = self.refunds[n], self.models[n], RESULTS[outcome]

        def step() -> None:
            refund.settle(outcome, self.order, self.code, now)

        everything = refund, self.order, self.code
        if model.status in FINAL and to in FINAL - {model.status}:
            assert_refused(RefundFinal, refund.refund_id, step, *everything)
        elif model.status in FINAL:
            assert_unchanged(step, *everything)
        elif not model.released:
            assert_refused(RefundNotReleased, refund.refund_id, step, *everything)
        else:
            assert is_allowed(REFUND, model.status, to)
            self._assert_settles(refund, model, to, step, now)
            model.status = to

    def _assert_settles(
        self, refund: Refund, model: Model, to: str, step: Callable[[], None], now: datetime
    ) -> None:
        status, version = self.code.status, self.code.version
        if to == "FAILED" and model.full:
            self._assert_lifts_hold(step, now)
        else:
            step()
            revokes = to == "SUCCEEDED" and model.full
            assert self.code.version == version + revokes
            assert self.code.status == ("REVOKED" if revokes and status in LIVE else status)
        if to == "SUCCEEDED":
            event = self._assert_event(refund, RefundCompleted, now)
            assert event.amount == Money(model.amount, "CNY")
            assert (event.full, event.surplus) == (model.full, model.surplus)
        elif to == "FAILED":
            self._assert_event(refund, RefundFailed, now)

    def _assert_lifts_hold(self, step: Callable[[], None], now: datetime) -> None:
        """The step lifts the refund's hold of the code, if there is one, and no other hold."""
        status, version, holds = self.code.status, self.code.version, set(self.code.holds)
        step()
        assert set(self.code.holds) == holds - {"REFUND"}
        assert self.code.version == version + ("REFUND" in holds)
        free = "EXPIRED" if now >= EXPIRE_AT else "ACTIVE"
        lifted = "SUSPENDED" if holds - {"REFUND"} else free
        assert self.code.status == (lifted if "REFUND" in holds else status)

    # Changes of the code meanwhile; test_access_code_state_machine.py covers them

    @rule(
        action=st.sampled_from(["redeem", "expire", "suspend", "reinstate", "revoke"]), now=moments
    )
    def change_code(self, action: str, now: datetime) -> None:
        """Any action that the code's state allows."""
        steps: dict[str, Callable[[], None]] = {
            "redeem": lambda: self.code.redeem("ses_1", NOW, "evt_1", now),
            "expire": lambda: self.code.expire(now),
            "suspend": lambda: self.code.suspend(OPERATOR, now),
            "reinstate": lambda: self.code.reinstate(OPERATOR, "cus_1", ADA, now),
            "revoke": lambda: self.code.revoke(OPERATOR, now),
        }
        try:
            steps[action]()
        except IllegalAccessCodeTransition as error:
            assert error.subject == "acc_1"  # noqa: PT017  the action may be refused or not
        self.code.events.clear()

    @rule(n=numbers, answered=st.sampled_from(["", "ref_0", "ref_1"]), now=moments)
    def query(self, n: int, answered: str, now: datetime) -> None:
        """Queries change nothing; only a start that answers it, or no refund, rejects it."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]
        own = answered in {"", refund.refund_id}
        assert assert_unchanged(lambda: refund.is_rejected_by(answered), refund) == (
            model.waiting and own
        )
        unanswered = assert_unchanged(lambda: refund.is_unanswered(now, timedelta(0)), refund)
        assert unanswered == (
            model.waiting and refund.asked_at is not None and refund.asked_at <= now
        )
        overdue = assert_unchanged(lambda: refund.is_overdue(now, timedelta(0)), refund)
        assert overdue == (model.status not in FINAL and now >= refund.created_at)

    def _assert_event(self, refund: Refund, kind: type[object], now: datetime) -> Any:
        [event] = take_all(refund.events)
        assert type(event) is kind
        assert (event.refund_id, event.occurred_at) == (refund.refund_id, now)
        assert event.record == self.code.snapshot()
        return event

    @invariant()
    def refunds_match_the_model(self) -> None:
        """No event is unexpected."""
        for refund, model in zip(self.refunds, self.models, strict=True):
            assert (refund.status, refund.amount.amount_minor) == (model.status, model.amount)
            assert (refund.released_at is not None) == model.released
            assert (refund.waiting, refund.asks) == (model.waiting, model.asks)
            assert refund.final == (model.status in FINAL)
            assert refund.events == self.order.events == []

    @invariant()
    def the_order_follows_its_refunds(self) -> None:
        """REFUND_PENDING with an open refund of the price, else by the refunded amount."""
        if [*self._of_price("PENDING"), *self._of_price("UNKNOWN")]:
            assert self.order.status == "REFUND_PENDING"
            return
        refunded = sum(m.amount for m in self._of_price("SUCCEEDED"))
        statuses = {0: "PAID", PRICE.amount_minor: "REFUNDED"}
        assert self.order.status == statuses.get(refunded, "PARTIALLY_REFUNDED")
        assert self.order.refunded_minor == refunded

    @invariant()
    def a_waiting_refund_prevents_starts(self) -> None:
        """The code is held, or is not valid anyway."""
        if any(model.waiting for model in self.models):
            held = "REFUND" in self.code.holds
            assert held or self.code.status in {"EXPIRED", "REVOKED", "REDEEMED"}


TestRefundStateMachine = RefundStateMachine.TestCase
TestRefundStateMachine.settings = STATE_MACHINE_SETTINGS
