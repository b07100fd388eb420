"""PROOFS 3, 34: mails, what is in them, and what becomes of those that the mailbox won't take."""

from email.message import EmailMessage

import pytest

from devstack.demo.journey import Journey
from devstack.demo.mails import access_code_in, plain_text
from devstack.polling import wait_until
from notification.v1 import notification_service_pb2
from payment.v1 import access_code_pb2, payment_service_pb2
from tests.system.drivers.running_stack import PAID, RunningStack

Status = notification_service_pb2


async def _notification(
    outside: RunningStack, order_id: str
) -> notification_service_pb2.Notification:
    """The order's only notification."""
    request = notification_service_pb2.ListNotificationsRequest(order_id=order_id)

    async def look() -> notification_service_pb2.Notification | None:
        found = (await outside.clients.notifications.ListNotifications(request)).notifications
        assert len(found) <= 1
        return found[0] if found else None

    return await wait_until(look, f"a notification of {order_id}")


async def _becomes(
    outside: RunningStack,
    order_id: str,
    status: Status.NotificationStatus.ValueType,
    attempts: int = 1,
) -> notification_service_pb2.Notification:
    async def look() -> notification_service_pb2.Notification | None:
        found = await _notification(outside, order_id)
        return found if found.status == status and found.attempts >= attempts else None

    name = Status.NotificationStatus.Name(status)
    return await wait_until(look, f"the notification of {order_id} {name}", 60)


async def _paid_by(
    outside: RunningStack, journey: Journey, email: str, display_name: str = ""
) -> str:
    """A paid order whose code goes to an address."""
    request = payment_service_pb2.CreateOrderRequest(
        request_id=journey.name,
        customer_id=journey.name,
        product_id="backend-60",
        recipient=access_code_pb2.Recipient(
            email=email, display_name=display_name, language_code=journey.language_code
        ),
    )
    order = (await outside.clients.payments.CreateOrder(request)).order
    await journey.pay(order.order_id)
    return order.order_id


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize(
    ("language", "greeting", "subject"),
    [("zh-CN", "李华", "面试"), ("en", "Hello 李华", "interview")],
)
async def test_proof_03_a_mail_speaks_the_customers_language_in_text_and_html(
    shared_stack: RunningStack, language: str, greeting: str, subject: str
) -> None:
    """Both parts name the code, the order and the last moment; the Message-ID is on record."""
    journey = shared_stack.journey(language_code=language)
    order_id = await journey.paid_order()
    sent = await journey.sent(order_id)
    (mail,) = shared_stack.mails(journey)
    code = (await shared_stack.code(order_id)).code
    expire_at = await shared_stack.value(
        "SELECT expire_at FROM payment.access_codes WHERE order_id = $1", order_id
    )
    assert access_code_in(mail) == code
    for part in (plain_text(mail), _part(mail, "html")):
        for said in (code, order_id, greeting, expire_at.strftime("%Y-%m-%d %H:%M")):
            assert said in part
    assert f'lang="{language}"' in _part(mail, "html")
    assert mail["Content-Language"] == sent.language_code == language
    assert subject in str(mail["Subject"])
    assert code not in str(mail["Subject"])
    assert mail["Message-ID"] == sent.message_id
    assert mail["To"].addresses[0].addr_spec == journey.email


async def test_no_language_means_chinese(shared_stack: RunningStack) -> None:
    """An order that names none."""
    journey = shared_stack.journey(language_code="")
    order_id = await journey.paid_order()
    assert (await journey.sent(order_id)).language_code == "zh-CN"
    (mail,) = shared_stack.mails(journey)
    assert mail["Content-Language"] == "zh-CN"


@pytest.mark.parametrize(
    "display_name",
    [
        "<script>alert(1)</script>",
        "{{ 7*7 }}{% raw %}",
        'a" <b@example.com>, "c',
        "名" * 100,
        "a,b;c " * 16,
        "=?utf-8?q?x?=",
        "ﬀ 💥",
    ],
)
async def test_a_name_is_only_a_name(shared_stack: RunningStack, display_name: str) -> None:
    """Whatever the name is made of, one person gets one mail, and HTML shows it as text."""
    journey = shared_stack.journey(language_code="en")
    order_id = await _paid_by(shared_stack, journey, journey.email, display_name)
    await shared_stack.wait_for_effects(order_id, PAID)
    (mail,) = shared_stack.mails(journey)
    assert [to.addr_spec for to in mail["To"].addresses] == [journey.email]
    assert "<script>" not in _part(mail, "html")
    assert display_name in plain_text(mail)
    assert access_code_in(mail)


async def test_the_mail_of_an_order_paid_while_the_mailbox_is_down_comes_later(
    disruptable_stack: RunningStack,
) -> None:
    """QUEUED or DEFERRED until it is back; then one mail under the Message-ID it had before."""
    await disruptable_stack.stack.kill("mailbox")
    journey = disruptable_stack.journey()
    order_id = await journey.paid_order()
    deferred = await _becomes(disruptable_stack, order_id, Status.NOTIFICATION_STATUS_DEFERRED, 2)
    assert deferred.last_error
    assert deferred.HasField("next_attempt_at")
    assert not deferred.HasField("sent_at")
    assert disruptable_stack.mails(journey) == []
    await disruptable_stack.stack.start("mailbox")
    sent = await journey.sent(order_id)
    assert sent.attempts > deferred.attempts
    assert (sent.last_error, sent.HasField("next_attempt_at")) == ("", False)
    (mail,) = disruptable_stack.mails(journey)
    assert mail["Message-ID"] == sent.message_id == deferred.message_id
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_a_mail_refused_for_now_is_tried_again(disruptable_stack: RunningStack) -> None:
    """451: DEFERRED, again and again."""
    journey = disruptable_stack.journey()
    order_id = await _paid_by(disruptable_stack, journey, f"{journey.name}+defer@example.com")
    deferred = await _becomes(disruptable_stack, order_id, Status.NOTIFICATION_STATUS_DEFERRED, 3)
    assert deferred.last_error.startswith("451")
    assert deferred.HasField("next_attempt_at")
    # Nothing would ever end it: the test does, for the sake of those that wait for quiet.
    end = "UPDATE notification.notifications SET status = 'FAILED', due_at = NULL"
    async with disruptable_stack.sql() as superuser:
        await superuser.execute(
            f"{end} WHERE order_id = $1 AND status = 'DEFERRED'",
            order_id,
        )


async def test_a_mail_refused_for_good_is_failed(shared_stack: RunningStack) -> None:
    """550: FAILED after one attempt, and the session is there all the same."""
    journey = shared_stack.journey()
    order_id = await _paid_by(shared_stack, journey, f"{journey.name}+reject@example.com")
    failed = await _becomes(shared_stack, order_id, Status.NOTIFICATION_STATUS_FAILED)
    assert failed.last_error.startswith("550")
    assert (failed.attempts, failed.HasField("next_attempt_at")) == (1, False)
    await journey.prepared(order_id)
    got = await shared_stack.clients.notifications.GetNotification(
        Status.GetNotificationRequest(notification_id=failed.notification_id)
    )
    assert got.notification == failed


async def test_a_mail_that_was_being_sent_when_notification_died_is_sent(
    disruptable_stack: RunningStack,
) -> None:
    """Claimed, handed to a mailbox that keeps silent, and killed: the claim runs out."""
    disruptable_stack.stack.suspend("mailbox")
    journey = disruptable_stack.journey()
    order_id = await journey.paid_order()
    sending = await _becomes(disruptable_stack, order_id, Status.NOTIFICATION_STATUS_SENDING)
    await disruptable_stack.stack.kill("notification")
    disruptable_stack.stack.resume("mailbox")
    await disruptable_stack.stack.start("notification")
    sent = await journey.sent(order_id)
    assert (sent.message_id, sent.attempts) == (sending.message_id, 2)
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert {mail["Message-ID"] for mail in disruptable_stack.mails(journey)} == {sent.message_id}
