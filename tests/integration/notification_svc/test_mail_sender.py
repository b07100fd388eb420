"""Mails are sent once, in parallel for different orders, and by another process after a crash."""

import pytest
from structlog.testing import capture_logs

from notification_svc.domain.contents import (
    Content,
    FeedbackContent,
    Money,
    RefundContent,
    RefundScope,
)
from notification_svc.domain.notifications import NotificationStatus, SuppressionReason
from notification_svc.domain.outcomes import Deferred, Refused
from notification_svc.storage.tables import notifications
from tests.integration.drivers.worker_runner import crashing, running
from tests.integration.notification_svc.mailing import FakeTransport, Mailing, wait_for

S = NotificationStatus
BAD_ADDRESS = Refused("550 no such user", bad_address=True)
REFUND = RefundContent("ref_1", Money(19900, "CNY"), RefundScope.FULL)
FEEDBACK = FeedbackContent("ses_1", "fbk_1", "backend-60")


async def test_a_slow_mail_of_one_order_does_not_hold_up_others(mailing: Mailing) -> None:
    """Nor do the many mails of its order that wait behind it, and which keep their order."""
    transport = FakeTransport()
    transport.hold("ord_slow")
    for _ in range(10):
        await mailing.queue("ord_slow")
    for number in range(3):
        await mailing.queue(f"ord_{number}")
    async with running(mailing.sender(transport)):
        for number in range(3):
            await mailing.wait_for(f"ord_{number}", S.SENT)
        assert transport.attempts["ord_slow"] == 1
        transport.release("ord_slow")
        await mailing.wait_for("ord_slow", S.SENT, count=10)
    assert transport.attempts["ord_slow"] == 10


@pytest.mark.parametrize("sent", [False, True])
async def test_an_event_whose_inbox_mark_was_lost_causes_no_second_mail(
    mailing: Mailing, sent: bool
) -> None:
    """Handling it again succeeds, so it becomes no dead letter either."""
    transport = FakeTransport()
    event_id = await mailing.queue("ord_1")
    if sent:
        async with running(mailing.sender(transport)):
            await mailing.wait_for("ord_1", S.SENT)
    await mailing.queue("ord_1", event_id)
    await mailing.queue("ord_2")
    async with running(mailing.sender(transport)):
        await mailing.wait_for("ord_2", S.SENT)
        await mailing.wait_for("ord_1", S.SENT)
    assert len(await mailing.mails("ord_1")) == 1
    assert transport.attempts["ord_1"] == 1


async def test_mails_in_the_hands_of_a_killed_process_are_sent_by_another(
    mailing: Mailing,
) -> None:
    """Long before their claims expire, which they would after an hour here."""
    killed = FakeTransport()
    killed.hold("ord_1")
    engine = mailing.schema.new_engine()
    await mailing.queue("ord_1")
    async with crashing(mailing.sender(killed, engine)):
        await wait_for(lambda: killed.attempts["ord_1"] == 1, "an attempt")
    await engine.dispose()
    async with running(mailing.sender(FakeTransport())):
        [mail] = await mailing.wait_for("ord_1", S.SENT)
    assert (mail.attempts, mail.possibly_delivered) == (2, False)


async def test_a_mail_whose_code_changed_before_the_takeover_may_have_been_delivered(
    mailing: Mailing,
) -> None:
    """It is not sent again, and its record does not claim that it was never delivered."""
    killed = FakeTransport()
    killed.hold("ord_1")
    engine = mailing.schema.new_engine()
    await mailing.queue("ord_1")
    async with crashing(mailing.sender(killed, engine)):
        await wait_for(lambda: killed.attempts["ord_1"] == 1, "an attempt")
    await engine.dispose()
    await mailing.change_code("ord_1", version=2)
    another = FakeTransport()
    async with running(mailing.sender(another)):
        [mail] = await mailing.wait_for("ord_1", S.SUPPRESSED)
    assert mail.possibly_delivered
    assert mail.last_error == (
        "the access code has changed since; an earlier attempt may have been delivered"
    )
    assert not another.attempts


async def test_the_outcome_of_a_mail_is_recorded_however_often_the_database_fails(
    mailing: Mailing,
) -> None:
    """Given up, the mail would be sent again when its claim expires."""
    transport = FakeTransport()
    transport.hold("ord_1")
    await mailing.queue("ord_1")
    with capture_logs() as logs:
        async with running(mailing.sender(transport)):
            await wait_for(lambda: transport.attempts["ord_1"] == 1, "an attempt")
            async with mailing.schema.refusing_commit(notifications):
                transport.release("ord_1")
                await wait_for(
                    lambda: (
                        [entry["event"] for entry in logs].count("mail outcome not recorded") > 1
                    ),
                    "two failures to record the outcome",
                )
            [mail] = await mailing.wait_for("ord_1", S.SENT)
    assert (mail.attempts, transport.attempts["ord_1"]) == (1, 1)


async def test_a_late_event_does_not_make_an_older_version_of_the_code_the_newest(
    mailing: Mailing,
) -> None:
    """The mail of the event of the payment, which comes after the suspension, is not sent."""
    await mailing.change_code("ord_1", version=2)
    await mailing.queue("ord_1", version=1)
    transport = FakeTransport()
    async with running(mailing.sender(transport)):
        [mail] = await mailing.wait_for("ord_1", S.SUPPRESSED)
    assert mail.suppression_reason is SuppressionReason.CODE_OUTDATED
    assert not transport.attempts


async def test_an_outage_of_the_mail_server_is_logged_and_remembered_until_it_replies(
    mailing: Mailing,
) -> None:
    """Once, not for each mail. A temporary refusal of one mail is no outage."""
    cause = "ConnectionRefusedError: nobody listens"
    transport = FakeTransport(
        {
            "ord_1": Deferred(cause, every_mail=True),
            "ord_2": Deferred(cause, every_mail=True),
            "ord_3": Deferred("451 later"),
        }
    )
    sender = mailing.sender(transport)
    with capture_logs() as logs:
        async with running(sender):
            for order_id in ("ord_1", "ord_2"):
                await mailing.queue(order_id)
                await mailing.wait_for(order_id, S.DEFERRED)
            assert sender.current_error == cause
            await mailing.queue("ord_3")
            await mailing.wait_for("ord_3", S.DEFERRED)
            assert sender.current_error == ""
    events = [entry["event"] for entry in logs]
    assert events.count("mail server unavailable") == 1
    assert events.count("mail server available again") == 1
    deferred = [entry for entry in logs if entry["event"] == "mail status"]
    assert [(entry["log_level"], entry["error"]) for entry in deferred] == [
        ("warning", cause),
        ("warning", cause),
        ("warning", "451 later"),
    ]


async def test_a_dismissed_mail_needs_no_operator(mailing: Mailing) -> None:
    transport = FakeTransport({"ord_1": Refused("554 spam")})
    await mailing.queue("ord_1")
    async with running(mailing.sender(transport)):
        [failed] = await mailing.wait_for("ord_1", S.FAILED)
    assert await mailing.unresolved() == [failed.notification_id]
    await mailing.dismiss(failed.notification_id)
    assert await mailing.unresolved() == []
    assert (await mailing.status()).failed == 0
    [mail] = await mailing.mails("ord_1")
    assert (mail.status, mail.dismissed_at is None) == (S.FAILED, False)


async def test_the_status_counts_what_waits_and_what_failed_until_it_is_sent_again(
    mailing: Mailing,
) -> None:
    transport = FakeTransport({"ord_1": Deferred("451 later"), "ord_2": Refused("554 spam")})
    for order_id in ("ord_1", "ord_2", "ord_3"):
        await mailing.queue(order_id)
    async with running(mailing.sender(transport)):
        await mailing.wait_for("ord_1", S.DEFERRED)
        [failed] = await mailing.wait_for("ord_2", S.FAILED)
        await mailing.wait_for("ord_3", S.SENT)
    await mailing.queue("ord_4")
    await mailing.schema.execute(
        "UPDATE notification.notifications SET created_at = created_at - interval '1 hour'"
        " WHERE order_id IN ('ord_1', 'ord_2')"
    )
    status = await mailing.status()
    assert (status.queued, status.sending, status.deferred, status.failed) == (1, 0, 1, 1)
    assert (status.last_error, status.last_failure) == ("451 later", "554 spam")
    assert 3600 <= status.oldest_waiting_seconds < 7200
    assert 3600 <= status.oldest_deferred_seconds < 7200
    assert 0 < status.oldest_queued_seconds < 3600
    assert 3600 <= status.oldest_failed_seconds < 7200
    assert await mailing.unresolved() == [failed.notification_id]
    await mailing.resend(failed.notification_id)
    status = await mailing.status()
    assert (status.queued, status.failed, status.last_failure) == (2, 0, "")
    assert await mailing.unresolved() == []


async def test_a_failed_mail_to_a_suppressed_address_counts_until_a_resend_of_it_is_sent(
    mailing: Mailing,
) -> None:
    """A resend that is suppressed takes its place, and is SUPPRESSED in the reply already."""
    transport = FakeTransport({"ord_1": BAD_ADDRESS})
    await mailing.queue("ord_1")
    async with running(mailing.sender(transport)):
        [failed] = await mailing.wait_for("ord_1", S.FAILED)
    suppressed = await mailing.resend(failed.notification_id)
    assert suppressed.status is S.SUPPRESSED
    assert await mailing.unresolved() == [suppressed.notification_id]
    status = await mailing.status()
    assert (status.failed, status.last_failure) == (1, "the address is on the suppression list")
    await mailing.restore_address()
    del transport.outcomes["ord_1"]
    resent = await mailing.resend(suppressed.notification_id)
    assert (resent.status, await mailing.unresolved()) == (S.QUEUED, [])
    async with running(mailing.sender(transport)):
        await mailing.wait_for("ord_1", S.SENT)
    assert (await mailing.unresolved(), (await mailing.status()).failed) == ([], 0)


@pytest.mark.parametrize(
    ("content", "is_unresolved"), [(None, True), (REFUND, True), (FEEDBACK, False)]
)
async def test_a_new_mail_to_a_suppressed_address_counts_if_its_customer_needs_it(
    mailing: Mailing, content: Content | None, *, is_unresolved: bool
) -> None:
    """One with a code or about a refund; until it is dismissed."""
    transport = FakeTransport({"ord_1": BAD_ADDRESS})
    await mailing.queue("ord_1")
    async with running(mailing.sender(transport)):
        [failed] = await mailing.wait_for("ord_1", S.FAILED)
        await mailing.dismiss(failed.notification_id)
        await mailing.queue("ord_2", content=content)
        [second] = await mailing.wait_for("ord_2", S.SUPPRESSED)
    assert await mailing.unresolved() == [second.notification_id] * is_unresolved
    assert (await mailing.status()).failed == is_unresolved
    if is_unresolved:
        await mailing.dismiss(second.notification_id)
        assert await mailing.unresolved() == []


async def test_a_mail_with_an_outdated_code_to_a_suppressed_address_needs_no_operator(
    mailing: Mailing,
) -> None:
    transport = FakeTransport({"ord_1": BAD_ADDRESS})
    await mailing.queue("ord_1")
    async with running(mailing.sender(transport)):
        [failed] = await mailing.wait_for("ord_1", S.FAILED)
        await mailing.dismiss(failed.notification_id)
    await mailing.queue("ord_2")
    await mailing.change_code("ord_2", version=2)
    async with running(mailing.sender(transport)):
        await mailing.wait_for("ord_2", S.SUPPRESSED)
    assert await mailing.unresolved() == []
