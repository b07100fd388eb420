"""Arbitrary use cases of one order's payments, refunds and codes: the money balances.

The provider captures and refunds at any time and repeats itself; interview handles events late.
"""

from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.access_code_errors import IllegalAccessCodeTransition
from payment_svc.domain.access_code_events import AccessCodeSnapshot, AccessCodeUseRejected
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import (
    AmountMismatch,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotPayable,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.order_events import PaymentCompleted
from payment_svc.domain.orders import Order
from payment_svc.domain.payment_errors import (
    PaymentFinal,
    PaymentInProgress,
    PaymentNotFound,
    PaymentNotSubmitted,
    WrongCurrencyCaptured,
)
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    Declined,
    Outcome,
    OutcomeUnknown,
)
from payment_svc.domain.refund_errors import RefundFinal, RefundNotFound, RefundNotReleased
from payment_svc.domain.refund_events import RefundCompleted, RefundRequested
from payment_svc.domain.refunds import (
    Refund,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundRefused,
    RefundSucceeded,
)
from payment_svc.use_cases.access_codes import (
    ChangeAccessCode,
    RedeemAccessCode,
    expire_access_codes,
    redeem_access_codes,
    reinstate_access_code,
    reissue_access_code,
    revoke_access_code,
    suspend_access_code,
)
from payment_svc.use_cases.orders import (
    CancelOrder,
    CreateOrder,
    cancel_order,
    create_order,
    expire_order,
)
from payment_svc.use_cases.payments import (
    CreatePayment,
    SettlePayment,
    create_payment,
    settle_payment,
    submit_payment,
)
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.use_cases.refunds import (
    CreateRefund,
    ReleaseRefund,
    RepeatRefundRequest,
    SettleRefund,
    create_refund,
    release_refunds,
    repeat_refund_request,
    settle_refund,
)
from tests.builders.payment import ADA, NOW, OPERATOR, PRICE
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork
from tests.unit.state_machines import (
    ACCESS_CODE,
    ORDER,
    PAYMENT,
    REFUND,
    STATE_MACHINE_SETTINGS,
    is_allowed,
    run_synchronously,
)

Result = TypeVar("Result")
PAID = {"PAID", "PARTIALLY_REFUNDED", "REFUND_PENDING", "REFUNDED"}
REFUSALS = (
    *(OrderNotPayable, OrderNotCancellable, OrderNotExpirable, OrderNotRefundable),
    *(AmountMismatch, RefundInProgress, IllegalAccessCodeTransition),
    *(PaymentInProgress, PaymentNotSubmitted, PaymentFinal, WrongCurrencyCaptured),
    *(RefundNotReleased, RefundFinal),
)
HALF = Money(PRICE.amount_minor // 2, "CNY")

payments = st.integers(1, 3).map("pay_{}".format)
refunds = st.integers(1, 4).map("ref_{}".format)
amounts = st.sampled_from([None, None, HALF, PRICE, Money(0, "CNY"), Money(1, "USD")])
payment_outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        *(Captured(PRICE), Captured(PRICE), Captured(PRICE), Captured(HALF)),
        *(Captured(Money(1, "USD")), Declined("no"), Cancelled(), Accepted(), OutcomeUnknown()),
    ]
)
refund_outcomes: st.SearchStrategy[RefundOutcome] = st.sampled_from(
    [RefundSucceeded(), RefundSucceeded(), RefundRefused("closed"), RefundOutcomeUnknown()]
)


_PAID = ["pay", "capture", "update cache"]
TYPICAL = [
    [*_PAID, "refund", "answer", "release", "settle"],
    [*_PAID, "start", "redeem", "refund half", "settle", "refund rest", "settle rest"],
    [*_PAID, "start", "refund", "answer"],
    [*_PAID, "refund half", "settle", "refund rest", "answer", "release rest", "settle rest"],
    ["pay", "decline", "capture"],
    ["pay", "capture half"],
    ["pay", "wait", "expire", "capture"],
    [*_PAID, "reissue", "start", "redeem"],
]


@dataclass
class Interview:
    """A model of interview: one session, a cached code, and answers to refunds.

    An interview that was completed stays so; another start that payment rejects is reverted, also
    if the session was cancelled or expired before.
    """

    cached: AccessCodeSnapshot | None = None
    start: RedeemAccessCode | None = None
    completed: bool = False
    cancelled: bool = False
    reverted: bool = False

    @property
    def in_progress(self) -> bool:
        ended = self.completed or self.cancelled or self.reverted
        return self.start is not None and not ended

    def update_cache(self, record: AccessCodeSnapshot) -> None:
        if self.cached is None or record.version > self.cached.version:
            self.cached = record


class MoneyStateMachine(RuleBasedStateMachine):
    """One order: captured money backs it, is owed, or was refunded."""

    @initialize(steps=st.sampled_from([[], *TYPICAL]), data=st.data())
    def create_order(self, steps: list[str], data: st.DataObject) -> None:
        """A new order, or one after the first steps of a typical history."""
        self.uow, self.now, self.interview = InMemoryUnitOfWork(), NOW, Interview()
        self.captured: dict[str, int] = {}
        self.refunded: dict[str, int] = {}
        self.withheld: set[str] = set()
        self.serial = 0
        command = CreateOrder("ord_1", "cus_1", "behavioral-30", PRICE, ADA)
        run_synchronously(create_order(command, self.uow, now=self.now))
        self.before = deepcopy(self.uow)
        missing = data.draw(st.just(0) | st.integers(0, len(steps)))
        for step in steps[: len(steps) - missing]:
            self._run_step(step)
            self.all_invariants_hold()

    def _run_step(self, step: str) -> None:
        steps: dict[str, Callable[[], object]] = {
            "pay": lambda: self.create_payment("pay_1"),
            "decline": lambda: self.settle_payment("pay_1", Declined("no")),
            "capture": lambda: self.settle_payment("pay_1", Captured(PRICE)),
            "capture half": lambda: self.settle_payment("pay_1", Captured(HALF)),
            "wait": lambda: self.advance_clock(timedelta(days=1)),
            "expire": self.expire,
            "update cache": self.update_interviews_cache,
            "start": self.start_interview,
            "redeem": self.handle_start,
            "refund": lambda: self.create_refund("ref_1", None),
            "refund half": lambda: self.create_refund("ref_1", HALF),
            "refund rest": lambda: self.create_refund("ref_2", None),
            "answer": lambda: self._answer(0),
            "release": lambda: self.handle_withheld_session("ref_1"),
            "release rest": lambda: self.handle_withheld_session("ref_2"),
            "settle": lambda: self._settle_refund("ref_1", RefundSucceeded()),
            "settle rest": lambda: self._settle_refund("ref_2", RefundSucceeded()),
            "reissue": self.reissue_code,
        }
        steps[step]()

    def _run(
        self, work: Callable[[InMemoryUnitOfWork], Coroutine[Any, Any, Result]]
    ) -> Result | None:
        """Runs a transaction; if it is refused, returns None and restores the state before it."""
        before = deepcopy(self.uow)
        try:
            return run_synchronously(work(self.uow))
        except REFUSALS as error:
            self.uow = before
            ids = {
                "ord_1",
                *before.payments.saved,
                *before.refunds.saved,
                *before.access_codes.saved,
            }
            assert error.subject in ids  # noqa: PT017  the step may be refused or not
        except (PaymentNotFound, RefundNotFound):
            self.uow = before
        return None

    @property
    def order(self) -> Order:
        return self.uow.orders.saved["ord_1"]

    @property
    def codes(self) -> list[AccessCode]:
        return list(self.uow.access_codes.saved.values())

    @property
    def all_refunds(self) -> list[Refund]:
        return list(self.uow.refunds.saved.values())

    def _new_codes(self) -> AccessCodeFactory:
        self.serial += 1
        serial = self.serial
        return AccessCodeFactory(lambda: f"acc_{serial}", lambda: f"code {serial}")

    # The clock

    @rule(step=st.sampled_from([timedelta(minutes=29), timedelta(days=1), timedelta(days=29)]))
    def advance_clock(self, step: timedelta) -> None:
        """Nothing else happens."""
        self.now += step

    @rule()
    def expire(self) -> None:
        """The expiry workers run."""
        self._run(lambda uow: expire_order("ord_1", uow, clock=at(self.now)))
        self._run(lambda uow: expire_access_codes(9, uow, due_at=self.now, clock=at(self.now)))

    # Payments

    @rule(payment=payments)
    def create_payment(self, payment: str) -> None:
        """A repeat finds the payment that it created."""
        command = CreatePayment(payment, "ord_1", PRICE, "card", "cus_1", "me", payment, b"")
        if created := self._run(lambda uow: create_payment(command, uow, clock=at(self.now))):
            self._run(lambda uow: submit_payment(created, uow, clock=at(self.now)))

    @rule(payment=payments, outcome=payment_outcomes)
    def settle_payment(self, payment: str, outcome: Outcome) -> None:
        """Captured money stays captured, whatever the provider reports later."""
        self.serial += 1
        command = SettlePayment(payment, "ord_1", outcome, f"ref_of_surplus_{self.serial}")
        codes = self._new_codes()
        settled = self._run(
            lambda uow: settle_payment(command, uow, codes=codes, clock=at(self.now))
        )
        if settled and isinstance(outcome, Captured):
            self.captured.setdefault(payment, outcome.amount.amount_minor)

    @rule()
    def cancel_order(self) -> None:
        """If its state allows it."""
        self._run(lambda uow: cancel_order(CancelOrder("ord_1", None), uow, clock=at(self.now)))

    # Refunds

    @rule(refund=refunds, amount=amounts)
    def create_refund(self, refund: str, amount: Money | None) -> None:
        """A repeat of a request would return the stored reply, before the use case."""
        if refund not in self.uow.refunds.saved:
            command = CreateRefund(refund, "ord_1", amount, "why")
            self._run(lambda uow: create_refund(command, uow, clock=at(self.now)))

    @rule(data=st.data(), outcome=refund_outcomes)
    def settle_refund(self, data: st.DataObject, outcome: RefundOutcome) -> None:
        """Only a released refund can be settled, and it is paid once."""
        ids = ["ref_9", *self.uow.refunds.saved]
        self._settle_refund(data.draw(st.sampled_from(ids)), outcome)

    def _settle_refund(self, refund: str, outcome: RefundOutcome) -> None:
        command = SettleRefund("ord_1", refund, outcome)
        settled = self._run(lambda uow: settle_refund(command, uow, clock=at(self.now)))
        if settled and isinstance(outcome, RefundSucceeded):
            assert settled.released_at is not None
            self.refunded.setdefault(refund, settled.amount.amount_minor)

    @rule(refund=refunds)
    def repeat_request(self, refund: str) -> None:
        """If the refund waits for an answer."""
        command = RepeatRefundRequest("ord_1", refund, timedelta(0))
        self._run(lambda uow: repeat_refund_request(command, uow, clock=at(self.now)))

    # Interview

    @rule()
    def update_interviews_cache(self) -> None:
        """Interview handles an event with the current code."""
        if self.order.access_code_id:
            self.interview.update_cache(
                self.uow.access_codes.saved[self.order.access_code_id].snapshot()
            )

    @rule()
    def start_interview(self) -> None:
        """Interview starts the session if its cached code is valid."""
        cached = self.interview.cached
        if self.interview.start or cached is None:
            return
        if cached.status == "ACTIVE" and self.now < cached.expire_at:
            self.interview.start = RedeemAccessCode(
                "ord_1", cached.id, "ses_1", self.now, "", interview_ended=False, event_id="evt_1"
            )

    @rule()
    def complete_interview(self) -> None:
        """The interview is completed."""
        if self.interview.in_progress:
            self.interview.completed = True

    @rule()
    def cancel_interview(self) -> None:
        """The customer cancels the interview, or its time is over."""
        if self.interview.in_progress:
            self.interview.cancelled = True

    @rule()
    def revert_start(self) -> None:
        """Interview handles payment's rejection of the start."""
        rejected = any(isinstance(event, AccessCodeUseRejected) for event in self.uow.events)
        if rejected and not self.interview.completed:
            self.interview.reverted = True

    @rule(data=st.data())
    def answer_refund(self, data: st.DataObject) -> None:
        """Interview handles one of the requests, possibly an old one."""
        requests = [event for event in self.uow.events if isinstance(event, RefundRequested)]
        if requests:
            self._answer(data.draw(st.integers(0, len(requests) - 1)))

    def _answer(self, number: int) -> None:
        requests = [event for event in self.uow.events if isinstance(event, RefundRequested)]
        if number >= len(requests):
            return
        request = requests[number]
        self.interview.update_cache(request.record)
        assert self.interview.cached is not None
        if self.interview.start and not self.interview.reverted:
            self._redeem(request.refund_id)
        elif self.interview.cached.status != "ACTIVE":
            self.withheld.add(request.refund_id)

    @rule()
    def handle_start(self) -> None:
        """Late or repeated, also after it was reverted."""
        if self.interview.start:
            self._redeem("")

    def _redeem(self, answered: str) -> None:
        start = self.interview.start
        assert start is not None
        command = RedeemAccessCode(
            start.order_id,
            start.access_code_id,
            "ses_1",
            start.started_at,
            answered,
            self.interview.completed,
            f"evt_{answered}",
        )
        current = self.order.access_code_id
        assert current is not None
        revoked = self.uow.access_codes.saved[current].status == "REVOKED"
        self._run(lambda uow: redeem_access_codes([command], uow, clock=at(self.now)))
        redeemed = self.uow.access_codes.saved[current].status == "REDEEMED"
        assert redeemed != revoked
        refunds = [r for r in self.all_refunds if answered in {"", r.refund_id}]
        waits = any(refund.waiting for refund in refunds)
        assert not (waits and (redeemed or self.interview.completed))

    @rule(refund=refunds)
    def handle_withheld_session(self, refund: str) -> None:
        """Late or repeated, but only if interview has sent the answer."""
        if refund in self.withheld:
            command = ReleaseRefund("ord_1", refund)
            self._run(lambda uow: release_refunds([command], uow, clock=at(self.now)))

    # Operators

    @rule(
        use_case=st.sampled_from([suspend_access_code, reinstate_access_code, revoke_access_code]),
        data=st.data(),
    )
    def change_code(self, use_case: Callable[..., Any], data: st.DataObject) -> None:
        """An operator changes the current code or a replaced one."""
        if self.codes:
            code = data.draw(st.sampled_from(self.codes))
            command = ChangeAccessCode(code.id, OPERATOR)
            self._run(lambda uow: use_case(command, uow, clock=at(self.now)))

    @rule()
    def reissue_code(self) -> None:
        """If its state allows it."""
        if self.order.access_code_id:
            command, codes = (
                ChangeAccessCode(self.order.access_code_id, OPERATOR),
                self._new_codes(),
            )
            self._run(
                lambda uow: reissue_access_code(command, uow, codes=codes, clock=at(self.now))
            )

    # Invariants

    @invariant()
    def all_invariants_hold(self) -> None:
        """They also hold after each step of a typical history."""
        self.the_money_balances()
        self.refunds_do_not_exceed_captures()
        self.the_order_follows_its_refunds()
        self.events_are_published_once()
        self.no_code_is_both_redeemed_and_refunded()
        self.no_reverted_start_rejects_a_refund()
        self.waiting_refunds_and_closed_orders_block_starts_and_payments()
        self.codes_are_consistent()
        self.every_transition_is_in_its_diagram()

    def the_money_balances(self) -> None:
        """Captured money that was not refunded backs the order or is owed."""
        backing = self.order.refundable.amount_minor if self.order.status in PAID else 0
        owed = sum(
            refund.amount.amount_minor
            for refund in self.all_refunds
            if refund.surplus and refund.status != "SUCCEEDED"
        )
        balance = sum(self.captured.values()) - sum(self.refunded.values())
        assert balance == backing + owed

    def refunds_do_not_exceed_captures(self) -> None:
        """Open refunds count too."""
        for payment in self.uow.payments.saved.values():
            refunded = sum(
                refund.amount.amount_minor
                for refund in self.all_refunds
                if refund.payment_id == payment.payment_id
                and refund.status not in {"FAILED", "REJECTED"}
            )
            assert refunded <= self.captured.get(payment.payment_id, 0)

    def the_order_follows_its_refunds(self) -> None:
        """One open refund of the price at a time; the status follows from the refunded amount."""
        price = [refund for refund in self.all_refunds if not refund.surplus]
        pending = [refund for refund in price if refund.status in {"PENDING", "UNKNOWN"}]
        assert len(pending) == (self.order.status == "REFUND_PENDING")
        refunded = sum(self.refunded.get(refund.refund_id, 0) for refund in price)
        assert 0 <= refunded == self.order.refunded_minor <= PRICE.amount_minor
        if self.order.status in PAID and not pending:
            statuses = {0: "PAID", PRICE.amount_minor: "REFUNDED"}
            assert self.order.status == statuses.get(refunded, "PARTIALLY_REFUNDED")
        if self.order.status not in PAID:
            assert not price

    def events_are_published_once(self) -> None:
        """One PaymentCompleted per paid order, one RefundCompleted per paid refund."""
        events = self.uow.events
        completed = [event for event in events if isinstance(event, PaymentCompleted)]
        assert len(completed) == (self.order.status in PAID)
        refunded = [event.refund_id for event in events if isinstance(event, RefundCompleted)]
        assert sorted(refunded) == sorted(self.refunded)

    def no_code_is_both_redeemed_and_refunded(self) -> None:
        """A redeemed code has the start of the session."""
        for code in self.codes:
            if code.status == "REDEEMED":
                assert self.order.status != "REFUNDED"
                assert self.interview.start is not None
                assert code.redeemed_at == self.interview.start.started_at

    def no_reverted_start_rejects_a_refund(self) -> None:
        """A customer whose start was reverted gets the money back."""
        rejected = any(refund.status == "REJECTED" for refund in self.all_refunds)
        assert not (rejected and self.interview.reverted)

    def waiting_refunds_and_closed_orders_block_starts_and_payments(self) -> None:
        """The code of a waiting refund is invalid; a closed order has no open payment."""
        current = self.uow.access_codes.saved.get(self.order.access_code_id or "")
        if any(refund.waiting for refund in self.all_refunds):
            assert current is not None
            assert current.status in {"SUSPENDED", "EXPIRED", "REVOKED"}
        if self.order.status in {"EXPIRED", "CANCELLED"}:
            assert all(payment.final for payment in self.uow.payments.saved.values())

    def codes_are_consistent(self) -> None:
        """Holds imply SUSPENDED; the audit has one entry per version across an order's codes."""
        for code in self.codes:
            assert bool(code.holds) == (code.status == "SUSPENDED")
            assert bool(code.redeemed_session_id) == (code.status == "REDEEMED")
        entries = [entry for audit in self.uow.access_codes.audit.values() for entry in audit]
        newest = max((code.version for code in self.codes), default=0)
        assert sorted(entry.version for entry in entries) == list(range(1, newest + 1))
        if self.order.access_code_id:
            current = self.uow.access_codes.saved[self.order.access_code_id]
            assert current.version == newest

    def every_transition_is_in_its_diagram(self) -> None:
        """Compared with the state before the step; versions never decrease."""
        old, new = self.before, self.uow
        for diagram, before, after in (
            (ORDER, old.orders.saved, new.orders.saved),
            (PAYMENT, old.payments.saved, new.payments.saved),
            (REFUND, old.refunds.saved, new.refunds.saved),
            (ACCESS_CODE, old.access_codes.saved, new.access_codes.saved),
        ):
            for id_, aggregate in before.items():
                assert is_allowed(diagram, aggregate.status, after[id_].status), id_
        for id_, code in old.access_codes.saved.items():
            assert new.access_codes.saved[id_].version >= code.version
        assert new.events[: len(old.events)] == old.events
        self.before = deepcopy(new)


TestMoneyStateMachine = MoneyStateMachine.TestCase
TestMoneyStateMachine.settings = settings(STATE_MACHINE_SETTINGS, stateful_step_count=20)
