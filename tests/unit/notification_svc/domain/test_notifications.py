"""Notification's state machine: every state and method, suppression reasons, and reported texts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from notification_svc.domain.codes import CodeStatus, CodeVersion
from notification_svc.domain.contents import (
    AccessCodeContent,
    CancelReason,
    Content,
    FeedbackContent,
    Money,
    RefundContent,
    RefundScope,
    SessionCancelledContent,
)
from notification_svc.domain.notifications import (
    ClaimLost,
    DeliveryContext,
    Notification,
    NotificationFailed,
    NotificationNotDue,
    NotificationNotEnded,
    NotificationNotFailed,
    NotificationStatus,
    Recipient,
    SuppressionReason,
)
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from notification_svc.domain.suppressions import normalised
from tests.fakes.notification import after_a_minute

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
CLAIM = timedelta(seconds=30)
CODE = AccessCodeContent("acc_1", "7ZK4-0PQX-M2A9-E5TB", 3, "backend-60", NOW + timedelta(days=30))
PAID_BACK = RefundContent("ref_1", Money(19900, "CNY"), RefundScope.FULL)
CALLED_OFF = SessionCancelledContent(
    "ses_1", "backend-60", CancelReason.REQUESTED, was_started=True
)
FEEDBACK = FeedbackContent("ses_1", "fbk_1", "backend-60")
CONTENTS = [CODE, PAID_BACK, CALLED_OFF, FEEDBACK]
S = NotificationStatus
WAITING, ENDED = (S.QUEUED, S.DEFERRED, S.SENDING), (S.SENT, S.FAILED, S.SUPPRESSED)


def mail(status: NotificationStatus = S.QUEUED, content: Content = CODE) -> Notification:
    """A mail as it stands after its first attempt, if it had one."""
    return Notification(
        notification_id="ntf_1",
        order_id="ord_1",
        customer_id="li.hua",
        event_id="evt_1",
        event_type="payment.v1.PaymentCompleted",
        recipient=Recipient("Li.Hua@example.org", "Li Hua", "en"),
        content=content,
        message_id="<ntf_1@example.org>",
        created_at=NOW,
        due_at=None if status in ENDED else NOW,
        status=status,
        attempts=0 if status is S.QUEUED else 1,
        sent_at=NOW if status is S.SENT else None,
    )


def code_version(
    version: int, status: CodeStatus = CodeStatus.ACTIVE, code: str = "acc_1"
) -> CodeVersion:
    return CodeVersion("ord_1", version, status, code)


def test_every_status_is_in_the_tables() -> None:
    assert {*WAITING, *ENDED} == set(S)


@pytest.mark.parametrize("status", S)
def test_only_what_waits_can_be_sent(status: NotificationStatus) -> None:
    """QUEUED, DEFERRED, and SENDING whose claim ran out; what has ended stays as it is."""
    notification = mail(status)
    if status in ENDED:
        with pytest.raises(NotificationNotDue):
            notification.begin_sending(NOW, CLAIM, DeliveryContext())
        assert notification.status is status
        return
    attempts = notification.attempts
    notification.begin_sending(NOW, CLAIM, DeliveryContext())
    assert (notification.status, notification.attempts) == (S.SENDING, attempts + 1)
    assert (notification.due_at, notification.next_attempt_at) == (NOW + CLAIM, None)


@pytest.mark.parametrize("status", WAITING)
def test_nothing_is_sent_before_it_is_due(status: NotificationStatus) -> None:
    """Neither what waits for its next try, nor what another process is sending."""
    with pytest.raises(NotificationNotDue):
        mail(status).begin_sending(NOW - timedelta(seconds=1), CLAIM, DeliveryContext())


@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize(
    ("outcome", "after"),
    [(Accepted(), S.SENT), (Deferred("451 later"), S.DEFERRED), (Refused("554 no"), S.FAILED)],
)
def test_only_what_is_being_sent_has_an_outcome(
    status: NotificationStatus, outcome: Outcome, after: NotificationStatus
) -> None:
    notification = mail(status)
    if status is not S.SENDING:
        with pytest.raises(ClaimLost):
            notification.record(1, outcome, NOW, after_a_minute)
        assert notification.status is status
        return
    notification.record(1, outcome, NOW, after_a_minute)
    assert notification.status is after
    assert notification.sent_at == (NOW if after is S.SENT else None)
    assert notification.due_at == (NOW + timedelta(minutes=1) if after is S.DEFERRED else None)
    assert len(notification.events) == (after is S.FAILED)


def test_an_attempt_that_was_overtaken_decides_nothing() -> None:
    notification = mail(S.SENDING)
    notification.begin_sending(NOW, CLAIM, DeliveryContext())
    with pytest.raises(ClaimLost):
        notification.record(1, Accepted(), NOW, after_a_minute)
    assert notification.status is S.SENDING


@pytest.mark.parametrize(
    ("attempts", "possibly_delivered"),
    [
        ([], False),
        ([Deferred("451 later")], False),
        ([Deferred("no connection", every_mail=True)], False),
        ([Deferred("no reply", every_mail=True, possibly_delivered=True)], True),
        ([Deferred("no reply", possibly_delivered=True), Deferred("451 later")], True),
        ([None], True),
        ([None, Deferred("451 later")], True),
    ],
)
def test_a_suppressed_mail_with_an_attempt_of_unknown_outcome_may_have_been_delivered(
    attempts: list[Outcome | None], *, possibly_delivered: bool
) -> None:
    """None stands for a process that ended during the attempt."""
    notification = mail(S.QUEUED)
    for number, outcome in enumerate(attempts, start=1):
        notification.begin_sending(NOW, CLAIM, DeliveryContext())
        if outcome:
            notification.record(number, outcome, NOW, after_a_minute)
        notification.due_at = NOW
    notification.begin_sending(NOW, CLAIM, DeliveryContext(code=code_version(4)))
    assert notification.status is S.SUPPRESSED
    assert notification.possibly_delivered is possibly_delivered
    assert ("may have been delivered" in notification.last_error) is possibly_delivered


@pytest.mark.parametrize("status", S)
def test_only_what_failed_can_be_dismissed(status: NotificationStatus) -> None:
    """It stays FAILED; the first time counts."""
    notification = mail(status)
    if status is not S.FAILED:
        with pytest.raises(NotificationNotFailed, match=f"dismissed: it is {status}") as refused:
            notification.dismiss(NOW)
        assert (refused.value.subject, notification.dismissed_at) == ("ntf_1", None)
        return
    notification.dismiss(NOW)
    notification.dismiss(NOW + timedelta(minutes=1))
    assert (notification.status, notification.dismissed_at) == (S.FAILED, NOW)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("resend_of", ["", "ntf_0"])
def test_a_mail_to_a_suppressed_address_can_be_dismissed_if_it_needs_an_operator(
    content: Content, resend_of: str
) -> None:
    """Its customer misses a code or a refund, or somebody had it sent again."""
    notification = mail(content=content)
    notification.resend_of = resend_of
    notification.begin_sending(NOW, CLAIM, DeliveryContext(address_suppressed=True))
    assert notification.status is S.SUPPRESSED
    assert notification.needs_operator is (bool(resend_of) or content in (CODE, PAID_BACK))
    if notification.needs_operator:
        notification.dismiss(NOW)
        assert (notification.status, notification.dismissed_at) == (S.SUPPRESSED, NOW)
    else:
        with pytest.raises(NotificationNotFailed, match="it is SUPPRESSED"):
            notification.dismiss(NOW)


@pytest.mark.parametrize(
    ("content", "context"),
    [
        (CODE, DeliveryContext(code=code_version(4), address_suppressed=True)),
        (replace(CODE, expire_at=NOW), DeliveryContext(address_suppressed=True)),
        (FEEDBACK, DeliveryContext(feedback_declined=True)),
    ],
)
def test_a_mail_that_is_outdated_or_declined_needs_no_operator(
    content: Content, context: DeliveryContext
) -> None:
    notification = mail(content=content)
    notification.begin_sending(NOW, CLAIM, context)
    assert (notification.status, notification.needs_operator) == (S.SUPPRESSED, False)


def test_a_mail_that_was_accepted_in_the_end_was_delivered() -> None:
    notification = mail(S.QUEUED)
    for _ in range(2):
        notification.begin_sending(NOW, CLAIM, DeliveryContext())
        notification.due_at = NOW
    assert notification.possibly_delivered
    notification.record(2, Accepted(), NOW, after_a_minute)
    assert (notification.status, notification.possibly_delivered) == (S.SENT, False)


@pytest.mark.parametrize("status", S)
def test_only_what_has_ended_can_be_sent_again(status: NotificationStatus) -> None:
    """The refusal names the mail, its status and the step; the original stays as it is."""
    notification = mail(status)
    if status in WAITING:
        with pytest.raises(NotificationNotEnded, match=f"sent again: it is {status}") as refused:
            notification.resend("ntf_2", "<ntf_2@x>", NOW, None)
        assert refused.value.subject == "ntf_1"
        return
    again = notification.resend("ntf_2", "<ntf_2@x>", NOW, None)
    assert (again.notification_id, again.message_id) == ("ntf_2", "<ntf_2@x>")
    assert (again.resend_of, again.status, again.due_at) == ("ntf_1", S.QUEUED, NOW)
    assert (again.attempts, again.sent_at, again.last_error) == (0, None, "")
    assert (again.content, again.recipient) == (notification.content, notification.recipient)
    assert notification.status is status


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(
    ("known", "obstacles"),
    [
        (DeliveryContext(), {}),
        (DeliveryContext(code=code_version(2)), {}),
        (DeliveryContext(code=code_version(3, CodeStatus.REVOKED)), {}),
        (
            DeliveryContext(code=code_version(4)),
            {AccessCodeContent: SuppressionReason.CODE_OUTDATED},
        ),
        (
            DeliveryContext(code=code_version(4, CodeStatus.REVOKED)),
            {AccessCodeContent: SuppressionReason.CODE_OUTDATED},
        ),
        (DeliveryContext(feedback_declined=True), {FeedbackContent: SuppressionReason.DECLINED}),
        (
            DeliveryContext(address_suppressed=True),
            dict.fromkeys(map(type, CONTENTS), SuppressionReason.ADDRESS_SUPPRESSED),
        ),
    ],
)
def test_what_speaks_against_a_mail(
    content: Content, known: DeliveryContext, obstacles: dict[type, SuppressionReason]
) -> None:
    """A newer version holds back codes only, a declined kind feedback only, an address all."""
    notification = mail(content=content)
    notification.begin_sending(NOW, CLAIM, known)
    suppression_reason = obstacles.get(type(content))
    assert notification.suppression_reason is suppression_reason
    if suppression_reason is None:
        assert notification.status is S.SENDING
    else:
        assert (notification.status, notification.due_at) == (S.SUPPRESSED, None)
        assert (notification.attempts, notification.events) == (0, [])
        assert notification.last_error


@pytest.mark.parametrize("status", WAITING)
def test_a_code_that_ran_out_is_not_sent(status: NotificationStatus) -> None:
    notification = mail(status, replace(CODE, expire_at=NOW))
    notification.begin_sending(NOW, CLAIM, DeliveryContext())
    assert (notification.status, notification.suppression_reason) == (
        S.SUPPRESSED,
        SuppressionReason.CODE_EXPIRED,
    )


@pytest.mark.parametrize(
    ("newest", "version"),
    [
        (None, 3),
        (code_version(2), 3),
        (code_version(5), 5),
        (code_version(5, CodeStatus.SUSPENDED), 3),
        (code_version(5, CodeStatus.REDEEMED), 3),
        (code_version(5, code="acc_2"), 3),
    ],
)
def test_a_resent_code_has_the_version_in_which_it_is_valid(
    newest: CodeVersion | None, version: int
) -> None:
    """A code that isn't good keeps its old version, and is SUPPRESSED when its turn comes."""
    again = mail(S.SENT).resend("ntf_2", "<ntf_2@x>", NOW, newest)
    assert again.content == replace(CODE, version=version)


@pytest.mark.parametrize(
    ("suppression_reason", "newest", "held_back"),
    [
        (SuppressionReason.CODE_OUTDATED, code_version(5), True),
        (SuppressionReason.CODE_OUTDATED, code_version(5, CodeStatus.SUSPENDED), False),
        (SuppressionReason.CODE_OUTDATED, code_version(5, code="acc_2"), False),
        (SuppressionReason.CODE_EXPIRED, code_version(5), False),
        (SuppressionReason.ADDRESS_SUPPRESSED, code_version(5), False),
        (None, code_version(5), False),
    ],
)
def test_only_a_mail_held_back_for_its_version_waits_for_its_code(
    suppression_reason: SuppressionReason | None, newest: CodeVersion, held_back: bool
) -> None:
    notification = mail(S.SUPPRESSED if suppression_reason else S.SENT)
    notification.suppression_reason = suppression_reason
    assert notification.is_suppressed_for(newest) is held_back


def test_a_failure_is_announced_without_code_and_address() -> None:
    """However the server quotes them; the mail itself may show the address, never the code."""
    notification = mail(S.SENDING)
    quoted = "550 5.1.1 <li.hua@EXAMPLE.org>: li.hua unknown\r\n(7zk4 0pqx m2a9 e5tb)"
    notification.record(1, Refused(quoted), NOW, after_a_minute)
    assert notification.last_error == "550 5.1.1 <li.hua@EXAMPLE.org>: li.hua unknown (****)"
    assert notification.events == [
        NotificationFailed(
            notification_id="ntf_1",
            order_id="ord_1",
            event_id="evt_1",
            event_type="payment.v1.PaymentCompleted",
            reason="550 5.1.1 <***>: *** unknown (****)",
            occurred_at=NOW,
        )
    ]


def test_a_long_reason_is_cut_after_the_address_was_taken_out() -> None:
    notification = mail(S.SENDING)
    notification.record(1, Refused("x" * 492 + " Li.Hua@example.org"), NOW, after_a_minute)
    (failed,) = notification.events
    assert len(notification.last_error) == 500
    assert "Li.Hua" not in failed.reason


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("Li.Hua@Example.ORG", "Li.Hua@example.org"),
        ("li@例子.中国", "li@xn--fsqu00a.xn--fiqs8s"),
        ("a..b@example.org", '"a..b"@example.org'),
        ("no address", "no address"),
        ('"a@B"@X.org', '"a@B"@x.org'),
    ],
)
def test_addresses_are_compared_without_the_case_of_their_domain(email: str, expected: str) -> None:
    assert normalised(email) == expected


def test_a_mail_that_is_sent_again_is_the_same_mail() -> None:
    original = mail(S.FAILED)
    again = original.resend("ntf_2", "<ntf_2@example.org>", NOW + CLAIM, None)
    assert again == replace(
        mail(),
        notification_id="ntf_2",
        message_id="<ntf_2@example.org>",
        created_at=NOW + CLAIM,
        due_at=NOW + CLAIM,
        resend_of="ntf_1",
    )


def test_a_sent_mail_has_no_error() -> None:
    """Also if its first attempt had one."""
    sending = replace(mail(S.SENDING), last_error="451 try later")
    sending.record(1, Accepted(), NOW, after_a_minute)
    assert (sending.status, sending.last_error, sending.sent_at) == (S.SENT, "", NOW)
