"""Suppressed addresses, declined mails, mails sent again, and previews of mails."""

from collections.abc import Awaitable, Callable

import grpc
import pytest
from ulid import ULID

from notification.v1 import events_pb2
from notification.v1 import notification_service_pb2 as pb
from payment.v1.events_pb2 import AccessCodeRevoked
from runtime.auth.authentication import Role
from tests.system.drivers.fake_events import FakeOrder
from tests.system.drivers.grpc_calls import precondition_violation, raises_rpc_error
from tests.system.drivers.running_stack import RunningStack


async def list_suppressions(stack: RunningStack, email: str) -> list[pb.Suppression]:
    request = pb.ListSuppressionsRequest(email=email)
    return list((await stack.clients.notifications.ListSuppressions(request)).suppressions)


async def resend(
    stack: RunningStack, notification_id: str, request_id: str = ""
) -> pb.Notification:
    request = pb.ResendNotificationRequest(
        request_id=request_id or str(ULID()), notification_id=notification_id
    )
    return (await stack.clients.notifications.ResendNotification(request)).notification


async def test_an_address_that_is_refused_permanently_is_suppressed(
    shared_stack: RunningStack,
) -> None:
    """The mail is FAILED and published without code and address; the next is SUPPRESSED.

    Once the suppression is deleted, a mail is sent again.
    """
    order = FakeOrder(shared_stack, "+reject")
    failed = await order.wait_for_mail(await order.publish(order.payment_completed()), "FAILED")
    assert order.access_code not in failed.last_error
    event = await shared_stack.wait_for_event(events_pb2.NotificationFailed, order.order_id)
    assert (event.notification_id, event.event_id) == (failed.notification_id, failed.event_id)
    assert event.reason.startswith("550 5.1.1")
    for secret in (order.access_code, order.email, order.customer_id):
        assert secret not in str(event)
    (suppression,) = await list_suppressions(shared_stack, order.email)
    assert (suppression.email, suppression.reason) == (order.email, failed.last_error)

    feedback_id = await order.publish(order.feedback_published())
    suppressed = await order.wait_for_mail(feedback_id, "SUPPRESSED")
    assert "suppression list" in suppressed.last_error
    assert suppressed.attempts == 0

    delete = pb.DeleteSuppressionRequest(request_id=str(ULID()), email=order.email)
    await shared_stack.clients.notifications.DeleteSuppression(delete)
    assert await list_suppressions(shared_stack, order.email) == []
    resent = await resend(shared_stack, suppressed.notification_id)
    assert resent.resend_of == suppressed.notification_id
    await order.wait_for_mail(feedback_id, "FAILED", resent=True)  # the server refuses it again


@pytest.mark.parametrize("email_tag", ["+spam", "+barred"])
async def test_an_address_that_is_refused_for_another_reason_is_not_suppressed(
    shared_stack: RunningStack, email_tag: str
) -> None:
    """The mail is FAILED and published; the next is attempted."""
    order = FakeOrder(shared_stack, email_tag)
    await order.wait_for_mail(await order.publish(order.payment_completed()), "FAILED")
    await shared_stack.wait_for_message(f"notification.v1.NotificationFailed.{order.order_id}")
    assert await list_suppressions(shared_stack, order.email) == []
    feedback_id = await order.publish(order.feedback_published())
    assert (await order.wait_for_mail(feedback_id, "FAILED")).attempts == 1


async def test_an_operator_creates_and_deletes_a_suppression(shared_stack: RunningStack) -> None:
    """With the domain in any case; a mail that it suppressed can be sent again afterwards."""
    order = FakeOrder(shared_stack)
    notifications = shared_stack.clients.notifications
    email = order.email.replace("example.com", "EXAMPLE.com")
    create = pb.CreateSuppressionRequest(
        request_id=str(ULID()), email=email, reason="asked by phone"
    )
    created = await notifications.CreateSuppression(create)
    assert await notifications.CreateSuppression(create) == created
    create.request_id, create.reason = str(ULID()), "again"
    assert await notifications.CreateSuppression(create) == created
    suppression = created.suppression
    assert (suppression.email, suppression.reason) == (order.email, "asked by phone")
    paid_id = await order.publish(order.payment_completed())
    suppressed = await order.wait_for_mail(paid_id, "SUPPRESSED")

    delete = pb.DeleteSuppressionRequest(request_id=str(ULID()), email=email)
    await notifications.DeleteSuppression(delete)
    await notifications.DeleteSuppression(delete)  # the same request
    delete.request_id = str(ULID())
    with raises_rpc_error("SUPPRESSION_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        await notifications.DeleteSuppression(delete)
    assert order.mail_texts() == []
    request_id = str(ULID())
    resent = await resend(shared_stack, suppressed.notification_id, request_id)
    assert await resend(shared_stack, suppressed.notification_id, request_id) == resent
    sent = await order.wait_for_mail(paid_id, "SENT", resent=True)
    (text,) = order.mail_texts()
    assert order.access_code in text
    assert sent.message_id != suppressed.message_id


async def test_suppressions_are_listed_by_pages_newest_first(shared_stack: RunningStack) -> None:
    emails = [FakeOrder(shared_stack).email for _ in range(3)]
    for email in emails:
        create = pb.CreateSuppressionRequest(request_id=str(ULID()), email=email)
        await shared_stack.clients.notifications.CreateSuppression(create)
    listed: list[str] = []
    request = pb.ListSuppressionsRequest(page_size=1)
    while not set(emails) <= set(listed):
        page = await shared_stack.clients.notifications.ListSuppressions(request)
        listed += [suppression.email for suppression in page.suppressions]
        request.page_token = page.next_page_token
        assert page.next_page_token or set(emails) <= set(listed)
    assert [email for email in listed if email in emails] == emails[::-1]
    request.page_token = "nonsense"
    with raises_rpc_error("INVALID_PAGE_TOKEN"):
        await shared_stack.clients.notifications.ListSuppressions(request)


async def test_a_waiting_mail_cannot_be_sent_again(disruptable_stack: RunningStack) -> None:
    """The error names the mail, its status and the step."""
    order = FakeOrder(disruptable_stack, "+defer")
    paid_id = await order.publish(order.payment_completed())
    waiting = await order.wait_for_mail(paid_id, "DEFERRED")
    with raises_rpc_error("NOTIFICATION_NOT_ENDED", subject=waiting.notification_id) as error:
        await resend(disruptable_stack, waiting.notification_id)
    assert "sent again" in precondition_violation(error.value).description
    # The retries would go on for ever.
    revoked = order.access_code_event(AccessCodeRevoked, "REVOKED")
    await order.publish(revoked, handled_by="notification")
    await order.wait_for_mail(paid_id, "SUPPRESSED")


async def test_a_customer_can_decline_mails_about_feedback_only(
    shared_stack: RunningStack,
) -> None:
    """They are SUPPRESSED until the customer accepts them; mails about money are sent."""
    order = FakeOrder(shared_stack)
    token = shared_stack.devstack.keys.token(order.customer_id, Role.CUSTOMER)
    async with shared_stack.devstack.connect(token) as customer:
        get = pb.GetMailPreferencesRequest(customer_id=order.customer_id)
        before = await customer.notifications.GetMailPreferences(get)
        assert not before.preferences.feedback_declined
        decline = pb.UpdateMailPreferencesRequest(
            request_id=str(ULID()), customer_id=order.customer_id, feedback_declined=True
        )
        after = await customer.notifications.UpdateMailPreferences(decline)
        reread = await customer.notifications.GetMailPreferences(get)
        assert reread.preferences == after.preferences
        feedback_id = await order.publish(order.feedback_published())
        declined = await order.wait_for_mail(feedback_id, "SUPPRESSED")
        assert declined.last_error == "declined by the customer"
        refund_id = await order.publish(order.refund_completed("ACTIVE", full=False))
        await order.wait_for_mail(refund_id, "SENT")
        accept = pb.UpdateMailPreferencesRequest(
            request_id=str(ULID()), customer_id=order.customer_id
        )
        await customer.notifications.UpdateMailPreferences(accept)
        feedback_id = await order.publish(order.feedback_published())
        await order.wait_for_mail(feedback_id, "SENT")


async def test_a_customer_changes_their_own_preferences_only(shared_stack: RunningStack) -> None:
    """Other customers' preferences and an operator's calls are denied."""
    customer_id, other_id = (FakeOrder(shared_stack).customer_id for _ in range(2))
    token = shared_stack.devstack.keys.token(customer_id, Role.CUSTOMER)
    async with shared_stack.devstack.connect(token) as customer:
        stub = customer.notifications
        calls: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (
                lambda: stub.GetMailPreferences(pb.GetMailPreferencesRequest(customer_id=other_id)),
                "NOT_YOUR_CUSTOMER_ID",
            ),
            (
                lambda: stub.UpdateMailPreferences(
                    pb.UpdateMailPreferencesRequest(request_id="r", customer_id=other_id)
                ),
                "NOT_YOUR_CUSTOMER_ID",
            ),
            (lambda: stub.ListSuppressions(pb.ListSuppressionsRequest()), "METHOD_NOT_ALLOWED"),
            (
                lambda: stub.ResendNotification(
                    pb.ResendNotificationRequest(request_id="r", notification_id=f"ntf_{ULID()}")
                ),
                "METHOD_NOT_ALLOWED",
            ),
        ]
        for call, reason in calls:
            with raises_rpc_error(reason, grpc.StatusCode.PERMISSION_DENIED):
                await call()


@pytest.mark.parametrize("language", ["", "en", "zh-CN"])
async def test_every_mail_can_be_previewed(shared_stack: RunningStack, language: str) -> None:
    """With sample content; an event without a mail has no preview."""
    for event_type in (
        "payment.v1.PaymentCompleted",
        "payment.v1.RefundCompleted",
        "payment.v1.AccessCodeReissued",
        "payment.v1.AccessCodeReinstated",
        "interview.v1.SessionCancelled",
        "interview.v1.FeedbackPublished",
    ):
        preview = await shared_stack.clients.notifications.PreviewEmail(
            pb.PreviewEmailRequest(event_type=event_type, language_code=language)
        )
        assert ("Hello" in preview.text) is (language == "en")
        assert preview.subject in preview.html
    for event_type in ("payment.v1.AccessCodeRevoked", "letter", "../letter", "x"):
        with raises_rpc_error("EVENT_TYPE_WITHOUT_MAIL", grpc.StatusCode.INVALID_ARGUMENT):
            await shared_stack.clients.notifications.PreviewEmail(
                pb.PreviewEmailRequest(event_type=event_type)
            )


@pytest.mark.parametrize("reason", ["ACCESS_CODE_REVOKED", "USE_REJECTED", "REQUESTED"])
async def test_a_cancelled_session_is_mailed(shared_stack: RunningStack, reason: str) -> None:
    order = FakeOrder(shared_stack, language_code="zh-CN")
    event_id = await order.publish(order.session_cancelled(reason))
    await order.wait_for_mail(event_id, "SENT")
    (text,) = order.mail_texts()
    assert "已取消" in text


async def test_the_cancelled_session_of_a_refunded_order_is_not_mailed(
    shared_stack: RunningStack,
) -> None:
    """The mail about the refund is the only one."""
    order = FakeOrder(shared_stack)
    await order.publish(order.session_cancelled("REFUNDED"), handled_by="notification")
    await order.wait_for_mail(await order.publish(order.refund_completed()), "SENT")
    assert len(order.mail_texts()) == 1
