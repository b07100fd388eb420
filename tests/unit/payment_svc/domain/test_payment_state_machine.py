"""Whatever a provider says of a payment, in whatever order: the diagram, and money once."""

from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.money import Money
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    ChargeNotFound,
    CurrencyCaptured,
    Declined,
    Outcome,
    OutcomeUnknown,
    Payment,
    PaymentFailed,
    PaymentFinal,
    PaymentNotSubmitted,
)
from tests.fakes.payment import NOW, PRICE
from tests.unit.state_machines import LIVES, PAYMENT, allowed, finals, refused, taken_from, unmoved

FINAL = finals(PAYMENT)
WRONG = Money(PRICE.amount_minor - 1, "CNY")
FOREIGN = Money(PRICE.amount_minor, "USD")
WORDS: list[Outcome] = [
    Captured(PRICE),
    Captured(WRONG),
    Captured(FOREIGN),
    Declined("no"),
    Declined("never"),
    Cancelled(),
    Accepted(),
    OutcomeUnknown(),
]
# What an open payment becomes by a word.
BECOMES = {
    Captured(PRICE): ("SUCCEEDED", ""),
    Captured(WRONG): ("FAILED", "WRONG_AMOUNT_CAPTURED"),
    Declined("no"): ("FAILED", "no"),
    Declined("never"): ("FAILED", "never"),
    Cancelled(): ("CANCELLED", ""),
    Accepted(): ("PROCESSING", ""),
    OutcomeUnknown(): ("UNKNOWN", ""),
}

moments = st.sampled_from([NOW, NOW + timedelta(hours=1), NOW + timedelta(days=90)])


class LivesOfPayments(RuleBasedStateMachine):
    """One payment: asked and told about, again and again, also after its end."""

    @initialize(asked=st.booleans(), told=st.lists(st.sampled_from(WORDS), max_size=2))
    def begins(self, told: list[Outcome], *, asked: bool) -> None:
        """Nobody was asked yet; or somebody was, and has told something."""
        self.payment = Payment("pay_1", "ord_1", PRICE, "card", "me", "r", b"", NOW, NOW)
        self.status, self.reason = "PENDING", ""
        self.captured: Money | None = None
        self.news: list[Money] = []
        if asked:
            self.the_provider_is_asked(NOW)
            for word in told:
                self.the_provider_tells(word, NOW)

    @rule(now=moments)
    def the_provider_is_asked(self, now: datetime) -> None:
        """As often as it takes, until the outcome is known."""
        if self.status in FINAL:
            refused(PaymentFinal, "pay_1", lambda: self.payment.ask(now), self.payment)
        else:
            self.payment.ask(now)
            self.status = "PROCESSING"
            assert self.payment.updated_at == now

    @rule(word=st.sampled_from(WORDS), now=moments)
    def the_provider_tells(self, word: Outcome, now: datetime) -> None:
        """The first final word counts; later ones only if they bring money, and only once."""
        amount = word.amount if isinstance(word, Captured) else None
        if self.status == "PENDING":
            self._refuses(PaymentNotSubmitted, word, now)
        elif amount == FOREIGN:
            self._refuses(CurrencyCaptured, word, now)
        elif self.status not in FINAL:
            self._settles(word, amount, now)
        elif self._known(word):
            assert unmoved(lambda: self.payment.record(word, now), self.payment) is None
        elif amount and self.captured is None:
            self._brings(word, amount, now)
        else:
            self._refuses(PaymentFinal, word, now)

    def _known(self, word: Outcome) -> bool:
        """Whether a final payment has this very outcome, or the word is none."""
        if isinstance(word, Captured):
            return self.captured == word.amount
        same = BECOMES[word][0] == self.status and self.captured is None
        return same or isinstance(word, (Accepted, OutcomeUnknown))

    def _settles(self, word: Outcome, amount: Money | None, now: datetime) -> None:
        to, reason = BECOMES[word]
        assert allowed(PAYMENT, self.status, to)
        self.status, self.reason = to, reason
        self._brings(word, amount, now)
        failed = PaymentFailed(
            order_id="ord_1", payment_id="pay_1", failure_reason=reason, occurred_at=now
        )
        assert taken_from(self.payment.events) == [failed] * (to == "FAILED")

    def _brings(self, word: Outcome, amount: Money | None, now: datetime) -> None:
        self.captured = amount
        assert self.payment.takes(word)
        news = self.payment.record(word, now)
        assert news == amount
        self.news += [news] if news else []

    def _refuses(self, error: type[Exception], word: Outcome, now: datetime) -> None:
        assert not self.payment.takes(word)
        refused(error, "pay_1", lambda: self.payment.record(word, now), self.payment)

    @rule(word=st.sampled_from([*WORDS, ChargeNotFound()]))
    def somebody_wonders(self, word: Outcome | ChargeNotFound) -> None:
        """Looking changes nothing; a charge that never arrived is no outcome."""
        takes = unmoved(lambda: self.payment.takes(word), self.payment)
        assert not (takes and isinstance(word, ChargeNotFound))
        if not isinstance(word, ChargeNotFound):
            unmoved(lambda: self.payment.contradicts(word), self.payment)

    @invariant()
    def it_is_what_the_model_says(self) -> None:
        """And nothing was said unseen."""
        payment = self.payment
        assert (payment.status, payment.failure_reason) == (self.status, self.reason)
        assert (payment.captured, payment.final) == (self.captured, self.status in FINAL)
        assert payment.events == []

    @invariant()
    def its_money_is_news_once(self) -> None:
        """What was captured is told to the caller once; SUCCEEDED means the price, and no less."""
        assert self.news == [self.captured] * (self.captured is not None)
        if self.payment.status == "SUCCEEDED":
            assert self.payment.captured == PRICE
        if self.payment.status in {"PENDING", "PROCESSING", "UNKNOWN"}:
            assert self.payment.captured is None


TestLivesOfPayments = LivesOfPayments.TestCase
TestLivesOfPayments.settings = LIVES
