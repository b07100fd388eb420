"""Arbitrary steps of an order: the diagram, one PaymentCompleted, and the refunded amount hold."""

from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import (
    AmountMismatch,
    AmountNotRefundable,
    NoRefundPending,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotFound,
    OrderNotPayable,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.order_events import OrderCancelled, OrderExpired, PaymentCompleted
from payment_svc.domain.orders import TIME_TO_PAY, Order
from payment_svc.domain.products import Product
from tests.builders.payment import ADA, NOW
from tests.unit.state_machines import (
    ORDER,
    STATE_MACHINE_SETTINGS,
    assert_refused,
    assert_unchanged,
    final_states,
    is_allowed,
    take_all,
)

REFUNDABLE = {"PAID", "PARTIALLY_REFUNDED"}
PAID = {*REFUNDABLE, "REFUND_PENDING", "REFUNDED"}
PRICE = Money(3, "CNY")  # small, so that partial refunds often reach the whole price
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
EXPIRE_AT = NOW + TIME_TO_PAY

moments = st.sampled_from(
    [NOW, EXPIRE_AT - timedelta(microseconds=1), EXPIRE_AT, EXPIRE_AT + timedelta(days=9)]
)
amounts = st.builds(Money, st.integers(-1, 4), st.sampled_from(["CNY", "CNY", "CNY", "USD"]))


class OrderStateMachine(RuleBasedStateMachine):
    """One order: every action at any time, repeatedly."""

    @initialize(steps=st.integers(0, 5), then=st.none() | amounts)
    def create(self, steps: int, then: Money | None) -> None:
        """A new order at the catalogue's price, or one after some typical steps, each repeated."""
        self.order = Order.create("ord_1", "cus_1", PRODUCT, ADA, NOW)
        self.status, self.refunded, self.pending = "PENDING_PAYMENT", 0, 0
        self.code, self.payment = "", ""
        self.completed = 0
        assert (self.order.price, self.order.expire_at) == (PRICE, EXPIRE_AT)
        self.expire(EXPIRE_AT - timedelta(microseconds=1))
        typical: list[Callable[[], None]] = [
            lambda: self.complete_payment(1, NOW),
            lambda: self.begin_refund(Money(1, "CNY")),
            lambda: self.end_refund(pays=True),
            lambda: self.begin_refund(then),
            lambda: self.end_refund(pays=True),
        ]
        for step in typical[:steps]:
            step()
            step()

    # Payment

    @rule(amount=st.none() | amounts, now=moments)
    def check_payable(self, amount: Money | None, now: datetime) -> None:
        """Only an unpaid, unexpired order can be paid, with its price."""

        def check() -> None:
            self.order.check_payable(amount, now)

        if self.status != "PENDING_PAYMENT" or now >= EXPIRE_AT:
            assert_refused(OrderNotPayable, "ord_1", check, self.order)
        elif amount not in {None, PRICE}:
            assert_refused(AmountMismatch, "ord_1", check, self.order)
        else:
            assert_unchanged(check, self.order)

    @rule(number=st.integers(1, 3), now=moments)
    def complete_payment(self, number: int, now: datetime) -> None:
        """The order is paid once; a payment that was created in time counts after the expiry."""
        code = AccessCode(f"acc_{number}", "c", "ord_1", "p", now + timedelta(1), now)

        def pay() -> None:
            self.order.complete_payment(f"pay_{number}", code, now)

        if self.status != "PENDING_PAYMENT":
            assert_refused(OrderNotPayable, "ord_1", pay, self.order, code)
            return
        self.code, self.payment = code.id, f"pay_{number}"
        pay()
        self._change_status("PAID")
        [event] = self._assert_event(PaymentCompleted, now)
        assert isinstance(event, PaymentCompleted)
        assert (event.payment_id, event.access_code_id) == (self.payment, code.id)
        assert (event.version, event.expire_at) == (code.version, code.expire_at)
        assert self.order.paid_at == now
        self.completed += 1

    # Cancellation and expiry

    @rule(now=moments)
    def cancel(self, now: datetime) -> None:
        """Only an unpaid, unexpired order can be cancelled."""
        if self.status == "PENDING_PAYMENT" and now < EXPIRE_AT:
            self.order.cancel(now)
            self._change_status("CANCELLED")
            self._assert_event(OrderCancelled, now)
        else:
            assert_refused(OrderNotCancellable, "ord_1", lambda: self.order.cancel(now), self.order)

    @rule(now=moments)
    def expire(self, now: datetime) -> None:
        """Only an unpaid order expires, and not before its expiry."""
        if self.status == "PENDING_PAYMENT" and now >= EXPIRE_AT:
            self.order.expire(now)
            self._change_status("EXPIRED")
            self._assert_event(OrderExpired, now)
        else:
            assert_refused(OrderNotExpirable, "ord_1", lambda: self.order.expire(now), self.order)

    # Refunds

    @rule(amount=st.none() | amounts)
    def begin_refund(self, amount: Money | None) -> None:
        """One refund at a time, of the refundable amount at most."""
        refundable = PRICE.amount_minor - self.refunded
        wanted = amount or Money(refundable, "CNY")
        if self.status == "REFUND_PENDING":
            self._assert_refund_refused(RefundInProgress, amount)
        elif self.status not in REFUNDABLE:
            self._assert_refund_refused(OrderNotRefundable, amount)
        elif wanted.currency_code != "CNY" or not 1 <= wanted.amount_minor <= refundable:
            self._assert_refund_refused(AmountNotRefundable, amount)
        else:
            assert self.order.begin_refund(amount) == wanted
            self.pending = wanted.amount_minor
            self._change_status("REFUND_PENDING")

    def _assert_refund_refused(self, error: type[Exception], amount: Money | None) -> None:
        assert_refused(error, "ord_1", lambda: self.order.begin_refund(amount), self.order)

    @rule(pays=st.booleans())
    def end_refund(self, *, pays: bool) -> None:
        """Paid or not; the status follows from the refunded amount."""
        amount = self.pending if pays else 0
        if self.status != "REFUND_PENDING":
            assert_refused(
                NoRefundPending, "ord_1", lambda: self.order.end_refund(amount), self.order
            )
            return
        self.order.end_refund(amount)
        self.refunded, self.pending = self.refunded + amount, 0
        statuses = {0: "PAID", PRICE.amount_minor: "REFUNDED"}
        self._change_status(statuses.get(self.refunded, "PARTIALLY_REFUNDED"))

    # Other steps

    @rule(number=st.integers(4, 6))
    def replace_code(self, number: int) -> None:
        """A replaced code changes nothing else."""
        if self.code:
            self.code = f"acc_{number}"
            self.order.replace_code(AccessCode(self.code, "c", "ord_1", "p", NOW, NOW))

    @rule(customer=st.sampled_from([None, "cus_1", "cus_2"]))
    def check_visible(self, customer: str | None) -> None:
        """Another customer does not see the order."""
        if customer == "cus_2":
            assert_refused(
                OrderNotFound, None, lambda: self.order.check_visible(customer), self.order
            )
        else:
            assert_unchanged(lambda: self.order.check_visible(customer), self.order)

    def _change_status(self, to: str) -> None:
        assert is_allowed(ORDER, self.status, to)
        assert self.status not in final_states(ORDER)
        self.status = to

    def _assert_event(self, kind: type[object], now: datetime) -> list[object]:
        events = take_all(self.order.events)
        assert [type(event) for event in events] == [kind]
        assert (events[0].order_id, events[0].occurred_at) == ("ord_1", now)
        return list(events)

    @invariant()
    def order_matches_the_model(self) -> None:
        """No event is unexpected."""
        order = self.order
        assert (order.status, order.refunded_minor) == (self.status, self.refunded)
        assert (order.access_code_id or "", order.payment_id) == (self.code, self.payment)
        assert order.events == []

    @invariant()
    def amounts_are_consistent(self) -> None:
        """At most the price is refunded; REFUNDED means all of it."""
        order = self.order
        assert 0 <= order.refunded_minor <= order.price.amount_minor
        assert order.refunded.amount_minor + order.refundable.amount_minor == PRICE.amount_minor
        assert (order.status == "REFUNDED") == (order.refundable.amount_minor == 0)

    @invariant()
    def order_is_paid_once(self) -> None:
        """PaymentCompleted is published once if the order was paid, and never otherwise."""
        assert self.completed == (self.order.status in PAID)
        assert (self.order.paid_at is not None) == (self.order.status in PAID)


TestOrderStateMachine = OrderStateMachine.TestCase
TestOrderStateMachine.settings = STATE_MACHINE_SETTINGS
