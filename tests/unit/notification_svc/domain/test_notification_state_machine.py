"""Any sequence of steps keeps to the state machine, sends once, and reveals no code."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from notification_svc.domain.codes import CodeStatus, CodeVersion
from notification_svc.domain.contents import (
    AccessCodeContent,
    Content,
    FeedbackContent,
    Money,
    RefundContent,
    RefundScope,
)
from notification_svc.domain.notifications import (
    ClaimLost,
    DeliveryContext,
    Notification,
    NotificationFailed,
    NotificationNotDue,
    NotificationNotEnded,
    Recipient,
)
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from tests.unit.state_machines import (
    NOTIFICATION,
    STATE_MACHINE_SETTINGS,
    assert_refused,
    assert_unchanged,
    final_states,
    is_allowed,
    take_all,
)

NOW = datetime.fromisoformat("2026-01-02T12:00:00+00:00")
CLAIM, DELAY = timedelta(seconds=30), timedelta(minutes=2)
EXPIRE_AT = NOW + timedelta(hours=1)
CODE = AccessCodeContent("acc_1", "7ZK4-0PQX-M2A9-E5TB", 3, "backend-60", EXPIRE_AT)
CONTENTS: list[Content] = [
    CODE,
    RefundContent("ref_1", Money(19900, "CNY"), RefundScope.FULL),
    FeedbackContent("ses_1", "fbk_1", "backend-60"),
]
ENDED = final_states(NOTIFICATION)
SECONDS = [0, 29, 30, 120, 150, 3599, 3600]
TELLING = "550 no 7zk4 0pqx m2a9 e5tb for Li.Hua@example.org"

moments = st.sampled_from([NOW + timedelta(seconds=seconds) for seconds in SECONDS])
versions = st.none() | st.builds(
    CodeVersion,
    st.just("ord_1"),
    st.integers(1, 5),
    st.sampled_from(CodeStatus),
    st.sampled_from(["acc_1", "acc_2"]),
)
known = st.builds(
    DeliveryContext, versions, st.sampled_from([False, False, True]), st.sampled_from([False, True])
)
outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [Accepted(), Deferred(TELLING), Deferred("busy"), Refused(TELLING), Refused("no", True)]
)


@dataclass
class Model:
    """What a mail is by the diagram. `due`: when it may be begun, None if never again."""

    content: Content
    due: datetime | None
    status: str = "QUEUED"
    attempts: int = 0
    suppression_reason: str = ""


class LivesOfNotifications(RuleBasedStateMachine):
    """One mail and those that were sent again for it."""

    numbers = Bundle("numbers")

    @initialize(target=numbers, content=st.sampled_from(CONTENTS), steps=st.integers(0, 4))
    def is_queued(self, content: Content, steps: int) -> int:
        """At once due; or it has gone on, first in vain, each step repeated."""
        mail = Notification(
            notification_id="ntf_0",
            order_id="ord_1",
            customer_id="li.hua",
            event_id="evt_1",
            event_type="payment.v1.PaymentCompleted",
            recipient=Recipient("Li.Hua@example.org", "Li Hua", "en"),
            content=content,
            message_id="<ntf_0@example.org>",
            created_at=NOW,
            due_at=NOW,
        )
        self.mails, self.models = [mail], [Model(content, NOW)]
        self.accepted = [0]
        self.failures: list[NotificationFailed] = []
        usual: list[Callable[[], None]] = [
            lambda: self.somebody_claims_it(0, NOW, DeliveryContext()),
            lambda: self.an_attempt_comes_back(0, 1, Deferred("busy"), NOW, latest=True),
            lambda: self.somebody_claims_it(0, NOW + DELAY, DeliveryContext()),
            lambda: self.an_attempt_comes_back(0, 2, Accepted(), NOW + DELAY, latest=True),
        ]
        for step in usual[:steps]:
            step()
            step()
        return 0

    @rule(n=numbers, now=moments, facts=known)
    def somebody_claims_it(self, n: int, now: datetime, facts: DeliveryContext) -> None:
        """Only what is due; what something speaks against is SUPPRESSED without an attempt."""
        mail, model = self.mails[n], self.models[n]
        if model.due is None or now < model.due:
            assert_refused(
                NotificationNotDue, None, lambda: mail.begin_sending(now, CLAIM, facts), mail
            )
            return
        mail.begin_sending(now, CLAIM, facts)
        model.suppression_reason = _suppression_reason(model.content, now, facts)
        if model.suppression_reason:
            self._moves(model, "SUPPRESSED", None)
        else:
            self._moves(model, "SENDING", now + CLAIM)
            model.attempts += 1

    @rule(n=numbers, attempt=st.integers(0, 4), latest=st.booleans(), outcome=outcomes, now=moments)
    def an_attempt_comes_back(
        self, n: int, attempt: int, outcome: Outcome, now: datetime, *, latest: bool
    ) -> None:
        """Only the latest attempt of what is SENDING decides, and once."""
        mail, model = self.mails[n], self.models[n]
        number = model.attempts if latest else attempt

        def record() -> None:
            mail.record(number, outcome, now, lambda attempts: attempts * DELAY)

        if model.status != "SENDING" or number != model.attempts:
            assert_refused(ClaimLost, None, record, mail)
            return
        record()
        if isinstance(outcome, Accepted):
            self._moves(model, "SENT", None)
            self.accepted[n] += 1
            assert mail.sent_at == now
        elif isinstance(outcome, Deferred):
            self._moves(model, "DEFERRED", now + number * DELAY)
        else:
            self._moves(model, "FAILED", None)
            self._told_of_failure(mail, now)

    def _told_of_failure(self, mail: Notification, now: datetime) -> None:
        [failed] = take_all(mail.events)
        named = (failed.notification_id, failed.order_id, failed.event_id, failed.occurred_at)
        assert named == (mail.notification_id, "ord_1", "evt_1", now)
        assert "example" not in failed.reason
        self.failures.append(failed)

    @rule(target=numbers, n=numbers, newest=versions, now=moments)
    def is_sent_again(self, n: int, newest: CodeVersion | None, now: datetime) -> int:
        """What ended, as a new mail; the old one stays what it is."""
        mail, model = self.mails[n], self.models[n]
        new_id = f"ntf_{len(self.mails)}"

        def resend() -> Notification:
            return mail.resend(new_id, f"<{new_id}@example.org>", now, newest)

        if model.status not in ENDED:
            assert_refused(NotificationNotEnded, mail.notification_id, resend, mail)
            return n
        again = assert_unchanged(resend, mail)
        content = model.content
        if isinstance(content, AccessCodeContent) and _is_good(newest, content):
            content = replace(content, version=max(content.version, newest.version))
        assert (again.content, again.resend_of) == (content, mail.notification_id)
        assert (again.recipient, again.sent_at) == (mail.recipient, None)
        assert again.notification_id == new_id
        self.mails.append(again)
        self.models.append(Model(content, now))
        self.accepted.append(0)
        return len(self.mails) - 1

    @rule(n=numbers, newest=versions)
    def its_code_changes(self, n: int, newest: CodeVersion | None) -> None:
        """Looking changes nothing; only a mail suppressed as outdated is queued again."""
        mail, model = self.mails[n], self.models[n]
        if newest is None:
            return
        held_back = assert_unchanged(lambda: mail.is_suppressed_for(newest), mail)
        good = _is_good(newest, model.content)
        assert held_back == (model.suppression_reason == "CODE_OUTDATED" and good)

    def _moves(self, model: Model, to: str, due: datetime | None) -> None:
        assert is_allowed(NOTIFICATION, model.status, to)
        assert model.status not in ENDED
        model.status, model.due = to, due

    @invariant()
    def they_are_what_the_model_says(self) -> None:
        """And no event is unexpected."""
        for mail, model in zip(self.mails, self.models, strict=True):
            assert (mail.status, mail.attempts) == (model.status, model.attempts)
            assert (mail.due_at, mail.suppression_reason or "") == (
                model.due,
                model.suppression_reason,
            )
            assert (mail.due_at is None) == (mail.status in ENDED)
            waits = mail.due_at if mail.status in {"QUEUED", "DEFERRED"} else None
            assert mail.next_attempt_at == waits
            assert mail.events == []

    @invariant()
    def each_is_delivered_once_at_most(self) -> None:
        """SENT was accepted once, everything else never."""
        for mail, accepted in zip(self.mails, self.accepted, strict=True):
            assert accepted == (mail.status == "SENT") == (mail.sent_at is not None)
        failed = [mail.notification_id for mail in self.mails if mail.status == "FAILED"]
        assert sorted(event.notification_id for event in self.failures) == failed

    @invariant()
    def no_code_is_told(self) -> None:
        """Whatever a mail server quotes."""
        if isinstance(self.mails[0].content, AccessCodeContent):
            reasons = [mail.last_error for mail in self.mails]
            reasons += [event.reason for event in self.failures]
            assert not any("e5tb" in reason for reason in reasons)


def _suppression_reason(content: Content, now: datetime, facts: DeliveryContext) -> str:
    """What speaks against a mail, the first of its order."""
    if isinstance(content, AccessCodeContent):
        if now >= EXPIRE_AT:
            return "CODE_EXPIRED"
        if facts.code and facts.code.version > content.version:
            return "CODE_OUTDATED"
    if facts.address_suppressed:
        return "ADDRESS_SUPPRESSED"
    declined = facts.feedback_declined and isinstance(content, FeedbackContent)
    return "DECLINED" if declined else ""


def _is_good(newest: CodeVersion | None, content: Content) -> bool:
    """Whether payment's newest word is that this very code may start an interview."""
    if newest is None or not isinstance(content, AccessCodeContent):
        return False
    return (newest.status, newest.access_code_id) == ("ACTIVE", content.access_code_id)


TestLivesOfNotifications = LivesOfNotifications.TestCase
TestLivesOfNotifications.settings = STATE_MACHINE_SETTINGS
