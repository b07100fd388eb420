"""Whatever happens to an order: the diagram, one PaymentCompleted, and a status that follows."""

from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.orders import (
    TIME_TO_PAY,
    AmountMismatch,
    AmountNotLeft,
    NoRefundPending,
    Order,
    OrderCancelled,
    OrderExpired,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotFound,
    OrderNotPayable,
    OrderNotRefundable,
    PaymentCompleted,
    RefundInProgress,
)
from payment_svc.domain.products import Product
from tests.fakes.payment import ADA, NOW
from tests.unit.state_machines import LIVES, ORDER, allowed, finals, refused, taken_from, unmoved

REFUNDABLE = {"PAID", "PARTIALLY_REFUNDED"}
PAID = {*REFUNDABLE, "REFUND_PENDING", "REFUNDED"}
PRICE = Money(3, "CNY")  # so small that a life often pays back all of it in parts
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
EXPIRE_AT = NOW + TIME_TO_PAY

moments = st.sampled_from(
    [NOW, EXPIRE_AT - timedelta(microseconds=1), EXPIRE_AT, EXPIRE_AT + timedelta(days=9)]
)
amounts = st.builds(Money, st.integers(-1, 4), st.sampled_from(["CNY", "CNY", "CNY", "USD"]))


class LivesOfOrders(RuleBasedStateMachine):
    """One order: every verb at any time, again and again."""

    @initialize(steps=st.integers(0, 5), then=st.none() | amounts)
    def is_placed(self, steps: int, then: Money | None) -> None:
        """It waits, at the catalogue's price; or has gone on, each step repeated."""
        self.order = Order.place("ord_1", "cus_1", PRODUCT, ADA, NOW)
        self.status, self.refunded, self.pending = "PENDING_PAYMENT", 0, 0
        self.code, self.payment = "", ""
        self.completed = 0
        assert (self.order.price, self.order.expire_at) == (PRICE, EXPIRE_AT)
        self.runs_out(EXPIRE_AT - timedelta(microseconds=1))
        usual: list[Callable[[], None]] = [
            lambda: self.is_paid(1, NOW),
            lambda: self.a_refund_begins(Money(1, "CNY")),
            lambda: self.the_refund_ends(pays=True),
            lambda: self.a_refund_begins(then),
            lambda: self.the_refund_ends(pays=True),
        ]
        for step in usual[:steps]:
            step()
            step()

    # Paying

    @rule(amount=st.none() | amounts, now=moments)
    def a_payment_wants_to_begin(self, amount: Money | None, now: datetime) -> None:
        """Only while it waits, in time, and for the price."""

        def check() -> None:
            self.order.check_payable(amount, now)

        if self.status != "PENDING_PAYMENT" or now >= EXPIRE_AT:
            refused(OrderNotPayable, "ord_1", check, self.order)
        elif amount not in {None, PRICE}:
            refused(AmountMismatch, "ord_1", check, self.order)
        else:
            unmoved(check, self.order)

    @rule(number=st.integers(1, 3), now=moments)
    def is_paid(self, number: int, now: datetime) -> None:
        """Once; a payment that was under way counts after the order's time too."""
        code = AccessCode(f"acc_{number}", "c", "ord_1", "p", now + timedelta(1), now)

        def pay() -> None:
            self.order.complete_payment(f"pay_{number}", code, now)

        if self.status != "PENDING_PAYMENT":
            refused(OrderNotPayable, "ord_1", pay, self.order, code)
            return
        self.code, self.payment = code.id, f"pay_{number}"
        pay()
        self._moves("PAID")
        [told] = self._told(PaymentCompleted, now)
        assert isinstance(told, PaymentCompleted)
        assert (told.payment_id, told.access_code_id) == (self.payment, code.id)
        assert (told.version, told.expire_at) == (code.version, code.expire_at)
        assert self.order.paid_at == now
        self.completed += 1

    # Giving up

    @rule(now=moments)
    def is_cancelled(self, now: datetime) -> None:
        """Only while it waits and has time left."""
        if self.status == "PENDING_PAYMENT" and now < EXPIRE_AT:
            self.order.cancel(now)
            self._moves("CANCELLED")
            self._told(OrderCancelled, now)
        else:
            refused(OrderNotCancellable, "ord_1", lambda: self.order.cancel(now), self.order)

    @rule(now=moments)
    def runs_out(self, now: datetime) -> None:
        """Only while it waits, and not before its time."""
        if self.status == "PENDING_PAYMENT" and now >= EXPIRE_AT:
            self.order.expire(now)
            self._moves("EXPIRED")
            self._told(OrderExpired, now)
        else:
            refused(OrderNotExpirable, "ord_1", lambda: self.order.expire(now), self.order)

    # Paying back

    @rule(amount=st.none() | amounts)
    def a_refund_begins(self, amount: Money | None) -> None:
        """One at a time, of what is left and no more."""
        left = PRICE.amount_minor - self.refunded
        wanted = amount or Money(left, "CNY")
        if self.status == "REFUND_PENDING":
            self._refuses_refund(RefundInProgress, amount)
        elif self.status not in REFUNDABLE:
            self._refuses_refund(OrderNotRefundable, amount)
        elif wanted.currency_code != "CNY" or not 1 <= wanted.amount_minor <= left:
            self._refuses_refund(AmountNotLeft, amount)
        else:
            assert self.order.begin_refund(amount) == wanted
            self.pending = wanted.amount_minor
            self._moves("REFUND_PENDING")

    def _refuses_refund(self, error: type[Exception], amount: Money | None) -> None:
        refused(error, "ord_1", lambda: self.order.begin_refund(amount), self.order)

    @rule(pays=st.booleans())
    def the_refund_ends(self, *, pays: bool) -> None:
        """With its money gone back or not; the status follows from what went back in all."""
        paid_back = self.pending if pays else 0
        if self.status != "REFUND_PENDING":
            refused(NoRefundPending, "ord_1", lambda: self.order.end_refund(paid_back), self.order)
            return
        self.order.end_refund(paid_back)
        self.refunded, self.pending = self.refunded + paid_back, 0
        parts = {0: "PAID", PRICE.amount_minor: "REFUNDED"}
        self._moves(parts.get(self.refunded, "PARTIALLY_REFUNDED"))

    # The rest

    @rule(number=st.integers(4, 6))
    def its_code_is_replaced(self, number: int) -> None:
        """Which changes nothing else; an order without a code has none to replace."""
        if self.code:
            self.code = f"acc_{number}"
            self.order.replace_code(AccessCode(self.code, "c", "ord_1", "p", NOW, NOW))

    @rule(customer=st.sampled_from([None, "cus_1", "cus_2"]))
    def somebody_looks(self, customer: str | None) -> None:
        """Another customer's order isn't there."""
        if customer == "cus_2":
            refused(OrderNotFound, None, lambda: self.order.check_visible(customer), self.order)
        else:
            unmoved(lambda: self.order.check_visible(customer), self.order)

    def _moves(self, to: str) -> None:
        assert allowed(ORDER, self.status, to)
        assert self.status not in finals(ORDER)
        self.status = to

    def _told(self, kind: type[object], now: datetime) -> list[object]:
        told = taken_from(self.order.events)
        assert [type(event) for event in told] == [kind]
        assert (told[0].order_id, told[0].occurred_at) == ("ord_1", now)
        return list(told)

    @invariant()
    def it_is_what_the_model_says(self) -> None:
        """And nothing was said unseen."""
        order = self.order
        assert (order.status, order.refunded_minor) == (self.status, self.refunded)
        assert (order.access_code_id or "", order.payment_id) == (self.code, self.payment)
        assert order.events == []

    @invariant()
    def its_money_is_all_there(self) -> None:
        """Never more went back than came; a status that says REFUNDED means all of it."""
        order = self.order
        assert 0 <= order.refunded_minor <= order.price.amount_minor
        assert order.refunded.amount_minor + order.left.amount_minor == PRICE.amount_minor
        assert (order.status == "REFUNDED") == (order.left.amount_minor == 0)

    @invariant()
    def it_is_paid_once(self) -> None:
        """PaymentCompleted was told once if it was ever paid, and never otherwise."""
        assert self.completed == (self.order.status in PAID)
        assert (self.order.paid_at is not None) == (self.order.status in PAID)


TestLivesOfOrders = LivesOfOrders.TestCase
TestLivesOfOrders.settings = LIVES
