"""Order, payments, refunds and codes together, through the use cases: the money is all there.

The provider takes and gives at any time and repeats itself; interview is honest but hears late.
"""

from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.access_code_errors import AccessCodeStepRefused
from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.money import Money
from payment_svc.domain.orders import AmountMismatch as AmountRefused
from payment_svc.domain.orders import (
    Order,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotPayable,
    OrderNotRefundable,
    PaymentCompleted,
    RefundInProgress,
)
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    CurrencyCaptured,
    Declined,
    Outcome,
    OutcomeUnknown,
    PaymentFinal,
    PaymentInProgress,
    PaymentNotFound,
    PaymentNotSubmitted,
)
from payment_svc.domain.refund_events import RefundCompleted, RefundRequested
from payment_svc.domain.refunds import (
    PaidBack,
    Refund,
    RefundFinal,
    RefundNotFound,
    RefundNotReleased,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundRefused,
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
    AskAgain,
    CreateRefund,
    ReleaseRefund,
    SettleRefund,
    ask_again,
    create_refund,
    release_refunds,
    settle_refund,
)
from tests.fakes.payment import ADA, NOW, PRICE, InMemory
from tests.unit.state_machines import ACCESS_CODE, LIVES, ORDER, PAYMENT, REFUND, allowed, finished

Result = TypeVar("Result")
PAID = {"PAID", "PARTIALLY_REFUNDED", "REFUND_PENDING", "REFUNDED"}
REFUSALS = (
    *(OrderNotPayable, OrderNotCancellable, OrderNotExpirable, OrderNotRefundable),
    *(AmountRefused, RefundInProgress, AccessCodeStepRefused),
    *(PaymentInProgress, PaymentNotSubmitted, PaymentFinal, CurrencyCaptured),
    *(RefundNotReleased, RefundFinal),
)
HALF = Money(PRICE.amount_minor // 2, "CNY")
MEI = Cause("operator:mei")

payments = st.integers(1, 3).map("pay_{}".format)
refunds = st.integers(1, 4).map("ref_{}".format)
amounts = st.sampled_from([None, None, HALF, PRICE, Money(0, "CNY"), Money(1, "USD")])
words: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        *(Captured(PRICE), Captured(PRICE), Captured(PRICE), Captured(HALF)),
        *(Captured(Money(1, "USD")), Declined("no"), Cancelled(), Accepted(), OutcomeUnknown()),
    ]
)
outcomes: st.SearchStrategy[RefundOutcome] = st.sampled_from(
    [PaidBack(), PaidBack(), RefundRefused("closed"), RefundOutcomeUnknown()]
)


_PAID = ["pay", "capture", "hear"]
USUAL = [
    [*_PAID, "ask", "answer", "release", "give"],
    [*_PAID, "start", "redeem", "ask half", "give", "ask rest", "give rest"],
    [*_PAID, "start", "ask", "answer"],
    [*_PAID, "ask half", "give", "ask rest", "answer", "release rest", "give rest"],
    ["pay", "decline", "capture"],
    ["pay", "capture half"],
    ["pay", "time", "sweep", "capture"],
    [*_PAID, "reissue", "start", "redeem"],
]


@dataclass
class Interview:
    """It starts what its entry allows, once, and answers refunds by what it did and heard."""

    entry: AccessCode | None = None
    start: RedeemAccessCode | None = None

    def hears(self, record: AccessCode) -> None:
        if self.entry is None or record.version > self.entry.version:
            self.entry = deepcopy(record)


class LivesOfMoney(RuleBasedStateMachine):
    """One order, whatever comes: what was captured either backs it, is owed, or went back."""

    @initialize(way=st.sampled_from([[], *USUAL]), data=st.data())
    def an_order_is_placed(self, way: list[str], data: st.DataObject) -> None:
        """It waits; or it has gone on, some of the way that people usually take."""
        self.memory, self.now, self.interview = InMemory(), NOW, Interview()
        self.captured: dict[str, int] = {}
        self.paid_back: dict[str, int] = {}
        self.withheld: set[str] = set()
        self.serial = 0
        command = CreateOrder("ord_1", "cus_1", "behavioral-30", PRICE, ADA)
        finished(create_order(command, self.memory, now=self.now))
        self.before = deepcopy(self.memory)
        missing = data.draw(st.just(0) | st.integers(0, len(way)))
        for step in way[: len(way) - missing]:
            self._goes_on(step)
            self.everything_holds()

    def _goes_on(self, step: str) -> None:
        steps: dict[str, Callable[[], object]] = {
            "pay": lambda: self.somebody_pays("pay_1"),
            "decline": lambda: self.the_provider_tells("pay_1", Declined("no")),
            "capture": lambda: self.the_provider_tells("pay_1", Captured(PRICE)),
            "capture half": lambda: self.the_provider_tells("pay_1", Captured(HALF)),
            "time": lambda: self.time_passes(timedelta(days=1)),
            "sweep": self.the_sweepers_come,
            "hear": self.interview_hears_of_the_code,
            "start": self.an_interview_starts,
            "redeem": self.payment_hears_of_the_start,
            "ask": lambda: self.somebody_wants_it_back("ref_1", None),
            "ask half": lambda: self.somebody_wants_it_back("ref_1", HALF),
            "ask rest": lambda: self.somebody_wants_it_back("ref_2", None),
            "answer": lambda: self._answers(0),
            "release": lambda: self.payment_hears_of_the_withholding("ref_1"),
            "release rest": lambda: self.payment_hears_of_the_withholding("ref_2"),
            "give": lambda: self._gives("ref_1", PaidBack()),
            "give rest": lambda: self._gives("ref_2", PaidBack()),
            "reissue": self.an_operator_reissues_the_code,
        }
        steps[step]()

    def _does(self, work: Callable[[InMemory], Coroutine[Any, Any, Result]]) -> Result | None:
        """In a transaction: None and as if nothing had been tried if it is refused by its name."""
        held = deepcopy(self.memory)
        try:
            return finished(work(self.memory))
        except REFUSALS as error:
            self.memory = held
            ours = {"ord_1", *held.payments.saved, *held.refunds.saved, *held.access_codes.saved}
            assert error.subject in ours  # noqa: PT017  either may be
        except (PaymentNotFound, RefundNotFound):
            self.memory = held
        return None

    @property
    def order(self) -> Order:
        return self.memory.orders.saved["ord_1"]

    @property
    def codes(self) -> list[AccessCode]:
        return list(self.memory.access_codes.saved.values())

    @property
    def all_refunds(self) -> list[Refund]:
        return list(self.memory.refunds.saved.values())

    def _new_codes(self) -> AccessCodeFactory:
        self.serial += 1
        serial = self.serial
        return AccessCodeFactory(lambda: f"acc_{serial}", lambda: f"code {serial}")

    # The clock

    @rule(step=st.sampled_from([timedelta(minutes=29), timedelta(days=1), timedelta(days=29)]))
    def time_passes(self, step: timedelta) -> None:
        """Nothing happens by that alone."""
        self.now += step

    @rule()
    def the_sweepers_come(self) -> None:
        """They materialise what the clock decided."""
        self._does(lambda uow: expire_order("ord_1", uow, now=self.now))
        self._does(lambda uow: expire_access_codes(9, uow, now=self.now))

    # Paying

    @rule(payment=payments)
    def somebody_pays(self, payment: str) -> None:
        """A repeat finds the payment that it began."""
        command = CreatePayment(payment, "ord_1", PRICE, "card", "cus_1", "me", payment, b"")
        if self._does(lambda uow: create_payment(command, uow, now=self.now)):
            self._does(lambda uow: submit_payment(payment, uow, now=self.now))

    @rule(payment=payments, word=words)
    def the_provider_tells(self, payment: str, word: Outcome) -> None:
        """Money that it took once is ours to account for, whatever it says afterwards."""
        self.serial += 1
        command = SettlePayment(payment, "ord_1", word, f"ref_of_surplus_{self.serial}")
        codes = self._new_codes()
        settled = self._does(lambda uow: settle_payment(command, uow, codes=codes, now=self.now))
        if settled and isinstance(word, Captured):
            self.captured.setdefault(payment, word.amount.amount_minor)

    @rule()
    def the_order_is_cancelled(self) -> None:
        """If it can be."""
        self._does(lambda uow: cancel_order(CancelOrder("ord_1", None), uow, now=self.now))

    # Paying back

    @rule(refund=refunds, amount=amounts)
    def somebody_wants_it_back(self, refund: str, amount: Money | None) -> None:
        """A repeat of a refund's call is answered from what was stored, before the use case."""
        if refund not in self.memory.refunds.saved:
            command = CreateRefund(refund, "ord_1", amount, "why")
            self._does(lambda uow: create_refund(command, uow, now=self.now))

    @rule(data=st.data(), outcome=outcomes)
    def the_provider_gives(self, data: st.DataObject, outcome: RefundOutcome) -> None:
        """Only what was released may be known to it; it gives once."""
        known = ["ref_9", *self.memory.refunds.saved]
        self._gives(data.draw(st.sampled_from(known)), outcome)

    def _gives(self, refund: str, outcome: RefundOutcome) -> None:
        command = SettleRefund("ord_1", refund, outcome)
        settled = self._does(lambda uow: settle_refund(command, uow, now=self.now))
        if settled and isinstance(outcome, PaidBack):
            assert settled.released_at is not None
            self.paid_back.setdefault(refund, settled.amount.amount_minor)

    @rule(refund=refunds)
    def interview_is_asked_again(self, refund: str) -> None:
        """If it owes an answer."""
        command = AskAgain("ord_1", refund, timedelta(0))
        self._does(lambda uow: ask_again(command, uow, now=self.now))

    # Interview

    @rule()
    def interview_hears_of_the_code(self) -> None:
        """By whatever event."""
        if self.order.access_code_id:
            self.interview.hears(self.memory.access_codes.saved[self.order.access_code_id])

    @rule()
    def an_interview_starts(self) -> None:
        """As far as interview knows, the code is good."""
        entry = self.interview.entry
        if self.interview.start or entry is None:
            return
        if entry.status == "ACTIVE" and self.now < entry.expire_at:
            self.interview.start = RedeemAccessCode(
                "ord_1", entry.id, "ses_1", self.now, "", "evt_1"
            )

    @rule(data=st.data())
    def interview_answers_a_refund(self, data: st.DataObject) -> None:
        """One of the asks arrives, be it an old one."""
        asks = [event for event in self.memory.told if isinstance(event, RefundRequested)]
        if asks:
            self._answers(data.draw(st.integers(0, len(asks) - 1)))

    def _answers(self, number: int) -> None:
        asks = [event for event in self.memory.told if isinstance(event, RefundRequested)]
        if number >= len(asks):
            return
        ask = asks[number]
        self.interview.hears(ask.record)
        assert self.interview.entry is not None
        if self.interview.start:
            self._redeems(ask.refund_id)
        elif self.interview.entry.status != "ACTIVE":
            self.withheld.add(ask.refund_id)

    @rule()
    def payment_hears_of_the_start(self) -> None:
        """Late, and again."""
        if self.interview.start:
            self._redeems("")

    def _redeems(self, cited: str) -> None:
        start = self.interview.start
        assert start is not None
        told = RedeemAccessCode(
            start.order_id, start.access_code_id, "ses_1", start.started_at, cited, f"evt_{cited}"
        )
        current = self.order.access_code_id
        assert current is not None
        gone = self.memory.access_codes.saved[current].status == "REVOKED"
        self._does(lambda uow: redeem_access_codes([told], uow, now=self.now))
        redeemed = self.memory.access_codes.saved[current].status == "REDEEMED"
        assert redeemed != gone
        answered = [one for one in self.all_refunds if cited in {"", one.refund_id}]
        assert not any(refund.waiting for refund in answered)

    @rule(refund=refunds)
    def payment_hears_of_the_withholding(self, refund: str) -> None:
        """Late, and again, and of what interview never said nothing."""
        if refund in self.withheld:
            command = ReleaseRefund("ord_1", refund)
            self._does(lambda uow: release_refunds([command], uow, now=self.now))

    # Operators

    @rule(
        verb=st.sampled_from([suspend_access_code, reinstate_access_code, revoke_access_code]),
        data=st.data(),
    )
    def an_operator_changes_a_code(self, verb: Callable[..., Any], data: st.DataObject) -> None:
        """The current one or one that was replaced."""
        if self.codes:
            code = data.draw(st.sampled_from(self.codes))
            command = ChangeAccessCode(code.id, MEI)
            self._does(lambda uow: verb(command, uow, now=self.now))

    @rule()
    def an_operator_reissues_the_code(self) -> None:
        """If it is good."""
        if self.order.access_code_id:
            command, codes = ChangeAccessCode(self.order.access_code_id, MEI), self._new_codes()
            self._does(lambda uow: reissue_access_code(command, uow, codes=codes, now=self.now))

    # What holds at every step

    @invariant()
    def everything_holds(self) -> None:
        """Also on the usual way, before anything else happens."""
        self.the_money_is_all_there()
        self.no_payment_gives_more_than_it_took()
        self.the_order_follows_its_refunds()
        self.what_is_announced_happened_once()
        self.no_code_is_both_used_and_paid_back()
        self.what_waits_lets_nothing_else_go_on()
        self.codes_are_whole()
        self.every_step_is_in_a_diagram()

    def the_money_is_all_there(self) -> None:
        """What was captured and didn't go back either backs the order or is owed."""
        backing = self.order.left.amount_minor if self.order.status in PAID else 0
        owed = sum(
            refund.amount.amount_minor
            for refund in self.all_refunds
            if refund.surplus and refund.status != "SUCCEEDED"
        )
        ours = sum(self.captured.values()) - sum(self.paid_back.values())
        assert ours == backing + owed

    def no_payment_gives_more_than_it_took(self) -> None:
        """Counting also what is on its way back."""
        for payment in self.memory.payments.saved.values():
            back = sum(
                refund.amount.amount_minor
                for refund in self.all_refunds
                if refund.payment_id == payment.payment_id
                and refund.status not in {"FAILED", "REJECTED"}
            )
            assert back <= self.captured.get(payment.payment_id, 0)

    def the_order_follows_its_refunds(self) -> None:
        """One of its price at a time, and a status by what went back in all."""
        price = [refund for refund in self.all_refunds if not refund.surplus]
        pending = [refund for refund in price if refund.status in {"PENDING", "UNKNOWN"}]
        assert len(pending) == (self.order.status == "REFUND_PENDING")
        went = sum(self.paid_back.get(refund.refund_id, 0) for refund in price)
        assert 0 <= went == self.order.refunded_minor <= PRICE.amount_minor
        if self.order.status in PAID and not pending:
            parts = {0: "PAID", PRICE.amount_minor: "REFUNDED"}
            assert self.order.status == parts.get(went, "PARTIALLY_REFUNDED")
        if self.order.status not in PAID:
            assert not price

    def what_is_announced_happened_once(self) -> None:
        """One PaymentCompleted per order that was paid, one RefundCompleted per repayment."""
        told = self.memory.told
        completed = [event for event in told if isinstance(event, PaymentCompleted)]
        assert len(completed) == (self.order.status in PAID)
        given = [event.refund_id for event in told if isinstance(event, RefundCompleted)]
        assert sorted(given) == sorted(self.paid_back)

    def no_code_is_both_used_and_paid_back(self) -> None:
        """Nor used by anything but the session that started."""
        for code in self.codes:
            if code.status == "REDEEMED":
                assert self.order.status != "REFUNDED"
                assert self.interview.start is not None
                assert code.redeemed_at == self.interview.start.started_at

    def what_waits_lets_nothing_else_go_on(self) -> None:
        """No start while a full refund waits; no end of an order that may still be paid."""
        current = self.memory.access_codes.saved.get(self.order.access_code_id or "")
        if any(refund.waiting for refund in self.all_refunds):
            assert current is not None
            assert current.status in {"SUSPENDED", "EXPIRED", "REVOKED"}
        if self.order.status in {"EXPIRED", "CANCELLED"}:
            assert all(payment.final for payment in self.memory.payments.saved.values())

    def codes_are_whole(self) -> None:
        """Holds, and one audit row for each version, without a gap across an order's codes."""
        for code in self.codes:
            assert bool(code.holds) == (code.status == "SUSPENDED")
            assert bool(code.redeemed_session_id) == (code.status == "REDEEMED")
        rows = [row for audit in self.memory.access_codes.audit.values() for row in audit]
        newest = max((code.version for code in self.codes), default=0)
        assert sorted(row.version for row in rows) == list(range(1, newest + 1))
        if self.order.access_code_id:
            current = self.memory.access_codes.saved[self.order.access_code_id]
            assert current.version == newest

    def every_step_is_in_a_diagram(self) -> None:
        """Of each aggregate, since the last look; versions never fall."""
        old, new = self.before, self.memory
        for diagram, before, after in (
            (ORDER, old.orders.saved, new.orders.saved),
            (PAYMENT, old.payments.saved, new.payments.saved),
            (REFUND, old.refunds.saved, new.refunds.saved),
            (ACCESS_CODE, old.access_codes.saved, new.access_codes.saved),
        ):
            for id_, one in before.items():
                assert allowed(diagram, one.status, after[id_].status), (id_, one.status)
        for id_, code in old.access_codes.saved.items():
            assert new.access_codes.saved[id_].version >= code.version
        assert new.told[: len(old.told)] == old.told
        self.before = deepcopy(new)


TestLivesOfMoney = LivesOfMoney.TestCase
TestLivesOfMoney.settings = settings(LIVES, stateful_step_count=20)
