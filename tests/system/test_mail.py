"""Mails: their content, and their retries when the mail server does not accept them."""

from email.message import EmailMessage

import grpc
import pytest

from devstack.demo.journey import Journey
from devstack.demo.mails import access_code_in, plain_text
from devstack.polling import wait_until
from notification.v1 import notification_service_pb2
from tests.builders.payment_requests import create_order_request
from tests.system.drivers.effects import PAID
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.running_stack import RunningStack


async def _wait_for_mail(
    stack: RunningStack, order_id: str, status: str, attempts: int = 1
) -> notification_service_pb2.Notification:
    """Waits until the order's only mail has a status, after at least so many attempts."""
    request = notification_service_pb2.ListNotificationsRequest(order_id=order_id)
    expected = notification_service_pb2.NotificationStatus.Value(f"NOTIFICATION_STATUS_{status}")

    async def read() -> notification_service_pb2.Notification | None:
        found = (await stack.clients.notifications.ListNotifications(request)).notifications
        assert len(found) <= 1
        for notification in found:
            if notification.status == expected and notification.attempts >= attempts:
                return notification
        return None

    return await wait_until(read, f"the mail of {order_id} {status}", 60)


async def _pay_order(
    stack: RunningStack, journey: Journey, email: str, display_name: str = ""
) -> str:
    """Pays an order whose code is mailed to an address; its id."""
    request = create_order_request(
        journey.name, email, display_name=display_name, language_code=journey.language_code
    )
    order = (await stack.clients.payments.CreateOrder(request)).order
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
async def test_a_mail_is_in_the_customers_language_as_text_and_html(
    shared_stack: RunningStack, language: str, greeting: str, subject: str
) -> None:
    """Both parts have the code, the order and the end of the code's time; the subject has none."""
    journey = shared_stack.journey(language_code=language)
    order_id = await journey.paid_order()
    sent = await journey.wait_for_sent_mail(order_id)
    (mail,) = shared_stack.mails(journey)
    code = (await shared_stack.access_code(order_id)).code
    expire_at = await shared_stack.fetch_value(
        "SELECT expire_at FROM payment.access_codes WHERE order_id = $1", order_id
    )
    expiry = {
        "en": f"{expire_at:%Y, %H:%M:%S} UTC",
        "zh-CN": f"{expire_at.year}年{expire_at.month}月{expire_at.day}日 {expire_at:%H:%M:%S} UTC",
    }[language]
    assert access_code_in(mail) == code
    for part in (plain_text(mail), _part(mail, "html")):
        for text in (code, order_id, greeting, expiry):
            assert text in part
    assert f'lang="{language}"' in _part(mail, "html")
    assert mail["Content-Language"] == sent.language_code == language
    assert subject in str(mail["Subject"])
    assert code not in str(mail["Subject"])
    assert mail["Message-ID"] == sent.message_id
    assert mail["To"].addresses[0].addr_spec == journey.email


async def test_a_mail_without_a_language_is_in_chinese(shared_stack: RunningStack) -> None:
    journey = shared_stack.journey(language_code="")
    order_id = await journey.paid_order()
    assert (await journey.wait_for_sent_mail(order_id)).language_code == "zh-CN"
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
        "می\u200cشود",
        "👩\u200d👩\u200d👧",
    ],
)
async def test_a_display_name_is_never_interpreted(
    shared_stack: RunningStack, display_name: str
) -> None:
    """Neither as an address, nor as HTML, nor as a template: one mail goes to one address."""
    journey = shared_stack.journey(language_code="en")
    order_id = await _pay_order(shared_stack, journey, journey.email, display_name)
    await shared_stack.wait_for_effects(order_id, PAID)
    (mail,) = shared_stack.mails(journey)
    assert [to.addr_spec for to in mail["To"].addresses] == [journey.email]
    assert "<script>" not in _part(mail, "html")
    assert display_name.strip() in plain_text(mail)
    assert access_code_in(mail)


async def test_a_name_of_blanks_is_none(shared_stack: RunningStack) -> None:
    journey = shared_stack.journey(language_code="en")
    order_id = await _pay_order(shared_stack, journey, journey.email, " \u3000\u200d")
    await shared_stack.wait_for_effects(order_id, PAID)
    (mail,) = shared_stack.mails(journey)
    assert plain_text(mail).startswith("Hello,\r\n")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("{}.@example.com", '"{}."@example.com'),
        ("{}@例子.中国", "{}@xn--fsqu00a.xn--fiqs8s"),
        ("李华.{}@example.com", "李华.{}@example.com"),
        ("{}@localhost", "{}@localhost"),
    ],
)
async def test_a_mail_reaches_an_unusual_address(
    shared_stack: RunningStack, typed: str, kept: str
) -> None:
    """And no log shows it."""
    journey = shared_stack.journey()
    order_id = await _pay_order(shared_stack, journey, typed.format(journey.name))
    sent = await journey.wait_for_sent_mail(order_id)
    address = kept.format(journey.name)
    assert sent.recipient_email == address
    for component in ("payment", "interview", "notification"):
        assert address not in shared_stack.devstack.log(component).read_text("utf-8")


@pytest.mark.parametrize(
    "email", ["{}@", "{} x@example.com", "x" * 65 + "@example.com", "{}@exa_mple.com", "{}@-x.com"]
)
async def test_what_is_no_address_is_refused_where_it_enters(
    shared_stack: RunningStack, email: str
) -> None:
    journey = shared_stack.journey()
    address = email.format(journey.name)
    notifications, request_id = shared_stack.clients.notifications, journey.name
    create = notification_service_pb2.CreateSuppressionRequest
    delete = notification_service_pb2.DeleteSuppressionRequest
    listing = notification_service_pb2.ListSuppressionsRequest(email=address)
    invalid = "INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT
    with raises_rpc_error(*invalid):
        await shared_stack.clients.payments.CreateOrder(create_order_request(request_id, address))
    with raises_rpc_error(*invalid):
        await notifications.CreateSuppression(create(request_id=request_id, email=address))
    with raises_rpc_error(*invalid):
        await notifications.DeleteSuppression(delete(request_id=request_id, email=address))
    with raises_rpc_error(*invalid):
        await notifications.ListSuppressions(listing)


async def test_a_mail_is_deferred_while_the_mail_server_is_down(
    disruptable_stack: RunningStack,
) -> None:
    """When the server is back, one mail arrives under the Message-ID of the first attempt."""
    await disruptable_stack.devstack.kill("mailbox")
    journey = disruptable_stack.journey()
    order_id = await journey.paid_order()
    deferred = await _wait_for_mail(disruptable_stack, order_id, "DEFERRED", 2)
    assert deferred.last_error
    assert deferred.HasField("next_attempt_at")
    assert not deferred.HasField("sent_at")
    assert disruptable_stack.mails(journey) == []
    await disruptable_stack.devstack.start("mailbox")
    sent = await journey.wait_for_sent_mail(order_id)
    assert sent.attempts > deferred.attempts
    assert (sent.last_error, sent.HasField("next_attempt_at")) == ("", False)
    (mail,) = disruptable_stack.mails(journey)
    assert mail["Message-ID"] == sent.message_id == deferred.message_id
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_a_mail_refused_temporarily_is_retried(disruptable_stack: RunningStack) -> None:
    """The server replies 451: the mail is DEFERRED after every attempt."""
    journey = disruptable_stack.journey()
    order_id = await _pay_order(disruptable_stack, journey, f"{journey.name}+defer@example.com")
    deferred = await _wait_for_mail(disruptable_stack, order_id, "DEFERRED", 3)
    assert deferred.last_error.startswith("451")
    assert deferred.HasField("next_attempt_at")
    # The retries would go on for ever.
    await disruptable_stack.execute(
        "UPDATE notification.notifications SET status = 'FAILED', due_at = NULL"
        " WHERE order_id = $1 AND status = 'DEFERRED'",
        order_id,
    )


@pytest.mark.parametrize("domain", ["example.com", "mail"])
async def test_a_mail_refused_permanently_is_failed(
    shared_stack: RunningStack, domain: str
) -> None:
    """The server replies 550: the mail is FAILED after one attempt; the session is prepared.

    The reply names the address; the log does not.
    """
    journey = shared_stack.journey()
    address = f"{journey.name}+reject@{domain}"
    order_id = await _pay_order(shared_stack, journey, address)
    failed = await _wait_for_mail(shared_stack, order_id, "FAILED")
    assert failed.last_error.startswith(f"550 5.1.1 <{address}>: rejected")
    [logged] = shared_stack.log_entries("notification", order_id=order_id, status="FAILED")
    assert logged["error"].startswith("550 5.1.1 <***>: rejected")
    assert address not in shared_stack.devstack.log("notification").read_text("utf-8")
    assert (failed.attempts, failed.HasField("next_attempt_at")) == (1, False)
    await journey.wait_for_session(order_id)
    reply = await shared_stack.clients.notifications.GetNotification(
        notification_service_pb2.GetNotificationRequest(notification_id=failed.notification_id)
    )
    assert reply.notification == failed


async def test_a_mail_that_was_being_sent_when_notification_was_killed_is_sent_again(
    disruptable_stack: RunningStack,
) -> None:
    """The mail server does not answer and the sender is killed: its claim runs out."""
    disruptable_stack.devstack.suspend("mailbox")
    journey = disruptable_stack.journey()
    order_id = await journey.paid_order()
    sending = await _wait_for_mail(disruptable_stack, order_id, "SENDING")
    await disruptable_stack.devstack.kill("notification")
    disruptable_stack.devstack.resume("mailbox")
    await disruptable_stack.devstack.start("notification")
    sent = await journey.wait_for_sent_mail(order_id)
    assert (sent.message_id, sent.attempts) == (sending.message_id, 2)
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert {mail["Message-ID"] for mail in disruptable_stack.mails(journey)} == {sent.message_id}
