"""notification's use cases, over repositories in memory."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

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
    Notification,
    NotificationNotEnded,
    NotificationNotFound,
    NotificationStatus,
    Recipient,
    SuppressionReason,
)
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from notification_svc.domain.preferences import MailPreferences
from notification_svc.domain.suppressions import Suppression, SuppressionNotFound
from notification_svc.use_cases.queueing import (
    HandleEvent,
    QueueMail,
    ResendNotification,
    handle_events,
    resend_notification,
)
from notification_svc.use_cases.sending import (
    ClaimNotifications,
    RecordOutcome,
    claim_notifications,
    record_outcome,
)
from notification_svc.use_cases.suppressions import (
    RestoreAddress,
    SuppressAddress,
    restore_address,
    suppress_address,
)
from tests.fakes.notification import InMemory, after_a_minute, identities

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
ADA = Recipient("ada@Example.org", "Ada", "en")
CODE = AccessCodeContent("acc_1", "7ZK4-0PQX-M2A9-E5TB", 1, "backend-60", NOW + timedelta(days=30))
FULL = RefundContent("ref_1", Money(19900, "CNY"), RefundScope.FULL)
FEEDBACK = FeedbackContent("ses_1", "fbk_1", "backend-60")
S, C = NotificationStatus, CodeStatus


class MailStore:
    """notification without its edges: events come in, mails go out, time passes."""

    def __init__(self) -> None:
        self.uow = InMemory()
        self.identity = identities()
        self.now = NOW
        self.events = 0

    async def hear(
        self,
        version: int = 0,
        status: CodeStatus = C.ACTIVE,
        content: Content | None = None,
        code: str = "acc_1",
    ) -> None:
        """An event of the order: its code's version, if it says one, and its mail."""
        self.events += 1
        mail = QueueMail(
            event_id=f"evt_{self.events}",
            event_type="some.v1.Event",
            order_id="ord_1",
            customer_id="ada",
            recipient=ADA,
            content=content or FULL,
        )
        version_of_code = CodeVersion("ord_1", version, status, code) if version else None
        await self.take(HandleEvent(version_of_code, mail if content else None))

    async def take(self, command: HandleEvent) -> None:
        await handle_events([command], self.uow, ids=self.identity, now=self.now)

    async def claim(self) -> list[Notification]:
        command = ClaimNotifications(8, timedelta(seconds=30))
        return await claim_notifications(command, self.uow, ids=self.identity, now=self.now)

    async def send(self, outcome: Outcome | None = None) -> list[Content]:
        """Sends what is due until nothing is; the contents of the mails that were sent."""
        sent: list[Content] = []
        while claimed := await self.claim():
            for mail in claimed:
                if mail.status is S.SENDING:
                    await self.ended(mail, outcome or Accepted())
                    sent += [mail.content] if outcome is None else []
            if outcome:
                break
        return sent

    async def ended(self, mail: Notification, outcome: Outcome) -> None:
        await record_outcome(
            RecordOutcome(mail.notification_id, mail.attempts, outcome),
            self.uow,
            delay=after_a_minute,
            ids=self.identity,
            now=self.now,
        )

    @property
    def statuses(self) -> list[NotificationStatus]:
        return [mail.status for mail in self.uow.notifications.saved.values()]


def versions(sent: list[Content]) -> list[int]:
    """The versions under which codes were mailed."""
    return [content.version for content in sent if isinstance(content, AccessCodeContent)]


@pytest.fixture
def store() -> MailStore:
    return MailStore()


async def test_an_event_delivered_twice_queues_one_mail(store: MailStore) -> None:
    """Once per event and recipient; a repeated version changes nothing."""
    mail = QueueMail("evt_1", "some.v1.Event", "ord_1", "ada", ADA, CODE)
    command = HandleEvent(CodeVersion("ord_1", 1, C.ACTIVE, "acc_1"), mail)
    await store.take(command)
    await store.take(command)
    (mail,) = store.uow.notifications.saved.values()
    assert (mail.message_id, mail.status) == ("<ntf_001@example.org>", S.QUEUED)


async def test_an_older_version_lowers_nothing(store: MailStore) -> None:
    await store.hear(3, C.REVOKED)
    await store.hear(2, C.SUSPENDED)
    assert store.uow.code_versions.saved["ord_1"].version == 3


@pytest.mark.parametrize("status", [C.SUSPENDED, C.REVOKED, C.EXPIRED, C.REDEEMED])
async def test_a_code_is_never_mailed_after_it_changed(
    store: MailStore, status: CodeStatus
) -> None:
    await store.hear(1, content=CODE)
    await store.hear(2, status)
    assert await store.send() == []
    assert store.statuses == [S.SUPPRESSED]


async def test_a_late_event_does_not_tell_a_code_that_changed_before(store: MailStore) -> None:
    """The revocation overtook the payment."""
    await store.hear(2, C.REVOKED)
    await store.hear(1, content=CODE)
    assert await store.send() == []


async def test_the_refunds_mail_goes_out_behind_the_codes(store: MailStore) -> None:
    await store.hear(1, content=CODE)
    await store.hear(2, C.SUSPENDED)
    await store.hear(3, C.REVOKED, content=FULL)
    assert await store.send() == [FULL]
    assert store.statuses == [S.SUPPRESSED, S.SENT]


async def test_one_mail_of_an_order_is_on_its_way_at_a_time(store: MailStore) -> None:
    await store.hear(1, content=CODE)
    await store.hear(3, C.REVOKED, content=FULL)
    store.uow.code_versions.saved.clear()  # the refund event comes after the claim
    (first,) = await store.claim()
    assert first.content == CODE
    assert await store.claim() == []
    await store.ended(first, Accepted())
    assert await store.send() == [FULL]


async def test_a_reinstated_code_is_mailed_once_under_its_new_version(store: MailStore) -> None:
    await store.hear(1, content=CODE)
    await store.hear(2, C.SUSPENDED)
    await store.hear(3, content=replace(CODE, version=3))
    assert versions(await store.send()) == [3]
    assert store.statuses == [S.SUPPRESSED, S.SENT]


@pytest.mark.parametrize("claimed_between", [True, False])
async def test_after_a_failed_refund_the_customer_has_the_code(
    store: MailStore, claimed_between: bool
) -> None:
    """Its request held the mail back, or would have: the code is mailed again, as a resend."""
    await store.hear(1, content=CODE)
    await store.hear(2, C.SUSPENDED)
    if claimed_between:
        assert await store.send() == []
    await store.hear(3)
    assert versions(await store.send()) == [3]
    original, again = store.uow.notifications.saved.values()
    assert (original.status, original.suppression_reason) == (
        S.SUPPRESSED,
        SuppressionReason.CODE_OUTDATED,
    )
    assert (again.status, again.resend_of) == (S.SENT, original.notification_id)
    assert again.message_id != original.message_id


async def test_after_a_failed_refund_that_overtook_the_payment_the_customer_has_the_code(
    store: MailStore,
) -> None:
    await store.hear(3)
    await store.hear(1, content=CODE)
    assert versions(await store.send()) == [3]


async def test_a_failed_refund_sends_nothing_to_who_has_the_code(store: MailStore) -> None:
    """Sent before the refund was requested, or being sent while it was."""
    await store.hear(1, content=CODE)
    (mail,) = await store.claim()
    await store.hear(2, C.SUSPENDED)
    await store.hear(3)
    await store.ended(mail, Accepted())
    assert await store.send() == []
    assert store.statuses == [S.SENT]


async def test_a_mail_that_was_deferred_through_a_failed_refund_comes(store: MailStore) -> None:
    await store.hear(1, content=CODE)
    (mail,) = await store.claim()
    await store.hear(2, C.SUSPENDED)
    await store.hear(3)
    await store.ended(mail, Deferred("451 later"))
    store.now += timedelta(minutes=2)
    assert versions(await store.send()) == [3]


async def test_a_second_refund_holds_the_resent_code_back_again(store: MailStore) -> None:
    """And its failure brings it, once."""
    await store.hear(1, content=CODE)
    for version in (2, 4):
        await store.hear(version, C.SUSPENDED)
        assert await store.send() == []
        await store.hear(version + 1)
    assert versions(await store.send()) == [5]
    assert await store.send() == []


async def test_a_replaced_code_is_not_mailed_again(store: MailStore) -> None:
    await store.hear(1, content=CODE)
    new = replace(CODE, access_code_id="acc_2", version=2)
    await store.hear(2, content=new, code="acc_2")
    await store.hear(3, C.SUSPENDED, code="acc_2")
    await store.hear(4, code="acc_2")
    assert await store.send() == [replace(new, version=4)]


async def test_a_mail_sent_again_tells_a_code_that_is_good_again(store: MailStore) -> None:
    """Resent by hand, the mail has the newest version; an inactive code is not mailed."""
    await store.hear(1, content=CODE)
    await store.send()
    await store.hear(2, C.SUSPENDED)
    await store.hear(3)
    for version, expected in ((3, [3]), (4, [])):
        await store.hear(version, C.ACTIVE if version == 3 else C.REVOKED)
        command = ResendNotification("ntf_001")
        await resend_notification(command, store.uow, ids=store.identity, now=store.now)
        assert versions(await store.send()) == expected
    assert store.statuses == [S.SENT, S.SENT, S.SUPPRESSED]


async def test_what_waits_is_not_sent_again(store: MailStore) -> None:
    await store.hear(1, content=CODE)
    command = ResendNotification("ntf_001")
    with pytest.raises(NotificationNotEnded):
        await resend_notification(command, store.uow, ids=store.identity, now=NOW)
    unknown = ResendNotification("ntf_999")
    with pytest.raises(NotificationNotFound):
        await resend_notification(unknown, store.uow, ids=store.identity, now=NOW)


async def test_a_refused_address_gets_no_more_mail_until_it_is_restored(store: MailStore) -> None:
    """FAILED with an event; the next is SUPPRESSED; restored, the next but one is sent."""
    await store.hear(content=FULL)
    await store.send(Refused("550 5.1.1 no such user", bad_address=True))
    assert [failed.notification_id for failed in store.uow.notifications.events] == ["ntf_001"]
    (entry,) = store.uow.suppressions.saved.values()
    assert (entry.email, entry.reason) == ("ada@example.org", "550 5.1.1 no such user")
    await store.hear(content=FULL)
    assert await store.send() == []
    await restore_address(RestoreAddress("ada@EXAMPLE.org"), store.uow)
    await store.hear(content=FULL)
    assert await store.send() == [FULL]
    assert store.statuses == [S.FAILED, S.SUPPRESSED, S.SENT]


async def test_a_refused_mail_says_nothing_of_its_address(store: MailStore) -> None:
    await store.hear(content=FULL)
    await store.send(Refused("554 5.7.1 spam"))
    assert store.statuses == [S.FAILED]
    assert not store.uow.suppressions.saved


async def test_an_address_is_suppressed_once(store: MailStore) -> None:
    """The first entry stays; one that isn't there can't be taken off."""
    for reason in ("request by phone", "again"):
        command = SuppressAddress("ada@EXAMPLE.org", reason)
        entry = await suppress_address(command, store.uow, ids=store.identity, now=NOW)
        assert (entry.email, entry.reason) == ("ada@example.org", "request by phone")
    with pytest.raises(SuppressionNotFound):
        await restore_address(RestoreAddress("Ada@example.org"), store.uow)


async def test_a_declined_kind_of_mail_is_not_sent_and_others_are(store: MailStore) -> None:
    await store.uow.preferences.save(MailPreferences("ada", feedback_declined=True))
    await store.hear(content=FEEDBACK)
    await store.hear(content=FULL)
    assert await store.send() == [FULL]
    declined = store.uow.notifications.saved["ntf_001"]
    assert (declined.status, declined.last_error) == (S.SUPPRESSED, "declined by the customer")


async def test_a_suppressed_address_has_an_id_and_a_time(store: MailStore) -> None:
    command = SuppressAddress("ada@EXAMPLE.org", "request by phone")
    entry = await suppress_address(command, store.uow, ids=store.identity, now=NOW)
    assert entry == Suppression("sup_001", "ada@example.org", "request by phone", NOW)


async def test_a_refused_address_is_suppressed_with_the_reply(store: MailStore) -> None:
    await store.hear(content=FULL)
    await store.send(Refused("550 no such user", bad_address=True))
    assert store.uow.suppressions.saved == {
        "ada@example.org": Suppression("sup_002", "ada@example.org", "550 no such user", NOW)
    }


async def test_a_claim_takes_no_more_than_its_limit(store: MailStore) -> None:
    for number in range(3):
        mail = QueueMail(f"evt_{number}", "some.v1.Event", f"ord_{number}", "ada", ADA, FULL)
        await store.take(HandleEvent(None, mail))
    command = ClaimNotifications(2, timedelta(seconds=30))
    claimed = await claim_notifications(command, store.uow, ids=store.identity, now=NOW)
    assert len(claimed) == 2


async def test_mails_are_locked_for_an_event_and_not_for_a_claim(store: MailStore) -> None:
    """An event waits for a concurrent claim; the claim has locked its own mails already."""
    await store.hear(1, content=CODE)
    await store.hear(2)
    assert store.uow.notifications.locks == [True]
    await store.claim()
    assert store.uow.notifications.locks == [True, False]
