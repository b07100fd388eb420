"""Whatever happens to an order's refunds: the diagram, and what they do to order and code."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.access_code_errors import AccessCodeStepRefused, AccessCodeUsed
from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    AmountNotLeft,
    Order,
    OrderNotRefundable,
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
)
from tests.fakes.payment import ADA, NOW
from tests.unit.state_machines import (
    LIVES,
    REFUND,
    allowed,
    finals,
    refused,
    taken_from,
    unmoved,
    whole,
)

FINAL = finals(REFUND)
LIVE = {"ACTIVE", "SUSPENDED"}
PRICE = Money(3, "CNY")
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
EXPIRE_AT = NOW + timedelta(days=30)
BECOMES = {
    PaidBack(): "SUCCEEDED",
    RefundRefused("closed"): "FAILED",
    RefundRefused("gone"): "FAILED",
    RefundProcessing(): "PENDING",
    RefundOutcomeUnknown(): "UNKNOWN",
}
MEI = Cause("operator:mei")

moments = st.sampled_from([NOW, EXPIRE_AT - timedelta(microseconds=1), EXPIRE_AT])
amounts = st.builds(Money, st.integers(-1, 4), st.sampled_from(["CNY", "CNY", "CNY", "USD"]))


@dataclass
class Model:
    """What a refund is by the diagram."""

    amount: int
    full: bool
    surplus: bool
    released: bool
    status: str = "PENDING"
    asks: int = 0

    @property
    def waiting(self) -> bool:
        return self.full and self.status == "PENDING" and not self.released


class LivesOfRefunds(RuleBasedStateMachine):
    """One paid order with its code: refunds of its price and of surplus, with all their verbs."""

    numbers = Bundle("numbers")

    @initialize(target=numbers, steps=st.integers(0, 5), first=amounts, left=st.none() | amounts)
    def an_order_is_paid(self, steps: int, first: Money, left: Money | None) -> int:
        """Its code is ACTIVE; or a part went back, then the rest, each step repeated."""
        self.order = Order.place("ord_1", "cus_1", PRODUCT, ADA, NOW)
        self.code = AccessCode("acc_1", "c", "ord_1", "behavioral-30", EXPIRE_AT, NOW)
        self.order.complete_payment("pay_1", self.code, NOW)
        self.order.events.clear()
        self.refunds: list[Refund] = []
        self.models: list[Model] = []
        usual: list[Callable[[], object]] = [
            lambda: self.begins(first, NOW),
            lambda: self.the_provider_tells(0, PaidBack(), NOW),
            lambda: self.begins(left, NOW),
            lambda: self.interview_withholds(len(self.refunds) - 1, NOW),
            lambda: self.the_provider_tells(len(self.refunds) - 1, PaidBack(), NOW),
        ]
        for step in usual[:steps]:
            step()
            step()
        return max(0, len(self.refunds) - 1)

    # Beginnings

    @rule(target=numbers, amount=st.none() | amounts, now=moments)
    def begins(self, amount: Money | None, now: datetime) -> int:
        """One of the price at a time; a full one holds the code, another is released at once."""
        paid_back = sum(m.amount for m in self._of_price("SUCCEEDED"))
        left = PRICE.amount_minor - paid_back
        wanted = amount or Money(left, "CNY")
        if [*self._of_price("PENDING"), *self._of_price("UNKNOWN")]:
            return self._refuses(RefundInProgress, amount)
        if not left:
            return self._refuses(OrderNotRefundable, amount)
        if wanted.currency_code != "CNY" or not 1 <= wanted.amount_minor <= left:
            return self._refuses(AmountNotLeft, amount)
        full = wanted.amount_minor == left
        if full and self.code.status == "REDEEMED":
            return self._is_used(now)
        refund = Refund.of_order(self._new_id(), self.order, amount, "why", now)
        self._begun(refund, Model(wanted.amount_minor, full, surplus=False, released=not full))
        if full:
            self._holds(refund, now)
        return len(self.refunds) - 1

    def _refuses(self, error: type[Exception], amount: Money | None) -> int:
        def begin() -> None:
            Refund.of_order("ref", self.order, amount, "why", NOW)

        refused(error, "ord_1", begin, self.order)
        return 0

    def _is_used(self, now: datetime) -> int:
        """The order of the use case that failed isn't saved."""
        refund = Refund.of_order("ref", deepcopy(self.order), None, "why", now)
        refused(AccessCodeUsed, "acc_1", lambda: refund.hold(self.code, now), refund, self.code)
        return 0

    def _holds(self, refund: Refund, now: datetime) -> None:
        status, version = self.code.status, self.code.version
        refund.hold(self.code, now)
        self.models[-1].asks = 1
        assert self.code.status == ("SUSPENDED" if status in LIVE else status)
        assert self.code.version == version + 1
        self._told(refund, RefundRequested, now)

    @rule(target=numbers, minor=st.integers(1, 4), now=moments)
    def surplus_begins(self, minor: int, now: datetime) -> int:
        """Whatever the order is: the money doesn't back it."""
        before = whole(self.order, self.code)
        captured = Money(minor, "CNY")
        refund = Refund.of_surplus(self._new_id(), "ord_1", "pay_2", captured, now)
        assert whole(self.order, self.code) == before
        self._begun(refund, Model(minor, full=False, surplus=True, released=True))
        return len(self.refunds) - 1

    def _begun(self, refund: Refund, model: Model) -> None:
        self.refunds.append(refund)
        self.models.append(model)

    def _new_id(self) -> str:
        return f"ref_{len(self.refunds)}"

    def _of_price(self, status: str) -> list[Model]:
        return [m for m in self.models if m.status == status and not m.surplus]

    # Interview's word

    @rule(n=numbers, now=moments)
    def interview_is_asked_again(self, n: int, now: datetime) -> None:
        """As long as it waits."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]
        before = whole(self.code, self.order)
        if model.waiting:
            refund.ask(self.code, now)
            model.asks += 1
            told = self._told(refund, RefundRequested, now)
            assert (told.ask, refund.asked_at) == (model.asks, now)
        else:
            self._not_waiting(refund, lambda: refund.ask(self.code, now))
        assert whole(self.code, self.order) == before

    @rule(n=numbers, now=moments)
    def interview_withholds(self, n: int, now: datetime) -> None:
        """Only what waits is released, once, and nothing else changes."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]
        before = whole(self.code, self.order)
        if model.waiting:
            refund.release(now)
            model.released = True
            assert refund.released_at == now
        else:
            self._not_waiting(refund, lambda: refund.release(now))
        assert whole(self.code, self.order) == before

    @rule(n=numbers, now=moments)
    def interview_has_started(self, n: int, now: datetime) -> None:
        """What waits is REJECTED, its hold lifted, and the order is as before it."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]

        def reject() -> None:
            refund.reject(self.order, self.code, "ses_1", "evt_1", now)

        if not model.waiting:
            self._not_waiting(refund, reject)
            return
        self._lets_go(reject, now)
        model.status = "REJECTED"
        told = self._told(refund, RefundRejected, now)
        assert (told.session_id, told.cause_event_id) == ("ses_1", "evt_1")

    def _not_waiting(self, refund: Refund, step: Callable[[], object]) -> None:
        refused(RefundNotWaiting, refund.refund_id, step, refund, self.order, self.code)

    # The provider's word

    @rule(n=numbers, outcome=st.sampled_from(list(BECOMES)), now=moments)
    def the_provider_tells(self, n: int, outcome: RefundOutcome, now: datetime) -> None:
        """Of what it was asked for; the first final word counts."""
        if not self.refunds:
            return
        refund, model, to = self.refunds[n], self.models[n], BECOMES[outcome]

        def settle() -> None:
            refund.settle(outcome, self.order, self.code, now)

        everything = refund, self.order, self.code
        if model.status in FINAL and to in FINAL - {model.status}:
            refused(RefundFinal, refund.refund_id, settle, *everything)
        elif model.status in FINAL:
            unmoved(settle, *everything)
        elif not model.released:
            refused(RefundNotReleased, refund.refund_id, settle, *everything)
        else:
            assert allowed(REFUND, model.status, to)
            self._settles(refund, model, to, settle, now)
            model.status = to

    def _settles(
        self, refund: Refund, model: Model, to: str, settle: Callable[[], None], now: datetime
    ) -> None:
        status, version = self.code.status, self.code.version
        if to == "FAILED" and model.full:
            self._lets_go(settle, now)
        else:
            settle()
            revokes = to == "SUCCEEDED" and model.full
            assert self.code.version == version + revokes
            assert self.code.status == ("REVOKED" if revokes and status in LIVE else status)
        if to == "SUCCEEDED":
            told = self._told(refund, RefundCompleted, now)
            assert told.amount == Money(model.amount, "CNY")
            assert (told.full, told.surplus) == (model.full, model.surplus)
        elif to == "FAILED":
            self._told(refund, RefundFailed, now)

    def _lets_go(self, step: Callable[[], None], now: datetime) -> None:
        """The step lifts the refund's hold from the code, if there is one, and no other."""
        status, version, holds = self.code.status, self.code.version, set(self.code.holds)
        step()
        assert set(self.code.holds) == holds - {"REFUND"}
        assert self.code.version == version + ("REFUND" in holds)
        free = "EXPIRED" if now >= EXPIRE_AT else "ACTIVE"
        lifted = "SUSPENDED" if holds - {"REFUND"} else free
        assert self.code.status == (lifted if "REFUND" in holds else status)

    # What happens to the code meanwhile; its own life is told elsewhere

    @rule(verb=st.sampled_from(["redeem", "expire", "suspend", "reinstate", "revoke"]), now=moments)
    def something_happens_to_the_code(self, verb: str, now: datetime) -> None:
        """Whatever it allows."""
        steps: dict[str, Callable[[], None]] = {
            "redeem": lambda: self.code.redeem("ses_1", NOW, "evt_1", now),
            "expire": lambda: self.code.expire(now),
            "suspend": lambda: self.code.suspend(MEI, now),
            "reinstate": lambda: self.code.reinstate(MEI, self.order.holder, now),
            "revoke": lambda: self.code.revoke(MEI, now),
        }
        try:
            steps[verb]()
        except AccessCodeStepRefused as error:
            assert error.subject == "acc_1"  # noqa: PT017  either may be
        self.code.events.clear()

    @rule(n=numbers, cited=st.sampled_from(["", "ref_0", "ref_1"]), now=moments)
    def somebody_looks(self, n: int, cited: str, now: datetime) -> None:
        """Looking changes nothing; only a start that cites it, or no refund, rejects it."""
        if not self.refunds:
            return
        refund, model = self.refunds[n], self.models[n]
        own = cited in {"", refund.refund_id}
        assert unmoved(lambda: refund.is_rejected_by(cited), refund) == (model.waiting and own)
        late = unmoved(lambda: refund.is_unanswered(now, timedelta(0)), refund)
        assert late == (model.waiting and refund.asked_at is not None and refund.asked_at <= now)
        overdue = unmoved(lambda: refund.is_overdue(now, timedelta(0)), refund)
        assert overdue == (model.status not in FINAL and now >= refund.created_at)

    def _told(self, refund: Refund, kind: type[object], now: datetime) -> Any:
        [told] = taken_from(refund.events)
        assert type(told) is kind
        assert (told.refund_id, told.occurred_at) == (refund.refund_id, now)
        assert told.record == self.code
        return told

    @invariant()
    def they_are_what_the_model_says(self) -> None:
        """And nothing was said unseen."""
        for refund, model in zip(self.refunds, self.models, strict=True):
            assert (refund.status, refund.amount.amount_minor) == (model.status, model.amount)
            assert (refund.released_at is not None) == model.released
            assert (refund.waiting, refund.asks) == (model.waiting, model.asks)
            assert refund.final == (model.status in FINAL)
            assert refund.events == self.order.events == []

    @invariant()
    def the_order_follows_its_refunds(self) -> None:
        """REFUND_PENDING with one of the price open, else by the sum of what went back."""
        if [*self._of_price("PENDING"), *self._of_price("UNKNOWN")]:
            assert self.order.status == "REFUND_PENDING"
            return
        paid_back = sum(m.amount for m in self._of_price("SUCCEEDED"))
        parts = {0: "PAID", PRICE.amount_minor: "REFUNDED"}
        assert self.order.status == parts.get(paid_back, "PARTIALLY_REFUNDED")
        assert self.order.refunded_minor == paid_back

    @invariant()
    def a_waiting_refund_lets_nothing_start(self) -> None:
        """The code is held, or gives no right by itself."""
        if any(model.waiting for model in self.models):
            held = "REFUND" in self.code.holds
            assert held or self.code.status in {"EXPIRED", "REVOKED", "REDEEMED"}


TestLivesOfRefunds = LivesOfRefunds.TestCase
TestLivesOfRefunds.settings = LIVES
