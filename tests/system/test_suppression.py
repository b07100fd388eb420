"""Addresses that get no mail, mails that are declined, mails that are sent again."""

from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ulid import ULID

from clients import reason_of
from notification.v1 import events_pb2, notification_service_pb2
from payment.v1.events_pb2 import AccessCodeRevoked
from runtime.auth.authentication import Role
from tests.system.drivers.fake_events import MadeUpOrder
from tests.system.drivers.running_stack import RunningStack

API = notification_service_pb2


async def refused(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def listed(outside: RunningStack, email: str) -> list[API.Suppression]:
    request = API.ListSuppressionsRequest(email=email)
    return list((await outside.clients.notifications.ListSuppressions(request)).suppressions)


async def resend(
    outside: RunningStack, notification_id: str, request_id: str = ""
) -> API.Notification:
    request = API.ResendNotificationRequest(
        request_id=request_id or str(ULID()), notification_id=notification_id
    )
    return (await outside.clients.notifications.ResendNotification(request)).notification


async def test_an_address_refused_for_good_gets_no_more_mail(shared_stack: RunningStack) -> None:
    """FAILED and announced, without code and address; the next SUPPRESSED; taken off, it may."""
    order = MadeUpOrder(shared_stack, "+reject")
    failed = await order.mail_about(await order.payment_completed(), "FAILED")
    assert order.code not in failed.last_error
    message = await shared_stack.stored(f"notification.v1.NotificationFailed.{order.order_id}")
    told = events_pb2.NotificationFailed.FromString(message.data or b"")
    assert (told.notification_id, told.event_id) == (failed.notification_id, failed.event_id)
    assert told.reason.startswith("550 5.1.1")
    for secret in (order.code, order.email, order.customer_id):
        assert secret not in str(told)
    (entry,) = await listed(shared_stack, order.email)
    assert (entry.email, entry.reason) == (order.email, failed.last_error)

    suppressed = await order.mail_about(await order.feedback_published(), "SUPPRESSED")
    assert "suppression list" in suppressed.last_error
    assert suppressed.attempts == 0

    delete = API.DeleteSuppressionRequest(request_id=str(ULID()), email=order.email)
    await shared_stack.clients.notifications.DeleteSuppression(delete)
    assert await listed(shared_stack, order.email) == []
    again = await resend(shared_stack, suppressed.notification_id)
    assert again.resend_of == suppressed.notification_id
    await order.mail_about(suppressed.event_id, "FAILED", resent=True)  # it was let out again


@pytest.mark.parametrize("mark", ["+spam", "+barred"])
async def test_a_mail_refused_for_other_reasons_costs_nobody_their_address(
    shared_stack: RunningStack, mark: str
) -> None:
    """FAILED and announced; the next one is tried."""
    order = MadeUpOrder(shared_stack, mark)
    await order.mail_about(await order.payment_completed(), "FAILED")
    await shared_stack.stored(f"notification.v1.NotificationFailed.{order.order_id}")
    assert await listed(shared_stack, order.email) == []
    next_one = await order.mail_about(await order.feedback_published(), "FAILED")
    assert next_one.attempts == 1


async def test_an_operator_stops_mail_to_an_address_and_lets_it_go_again(
    shared_stack: RunningStack,
) -> None:
    """The domain in whatever case; what was SUPPRESSED arrives when it is sent again."""
    order = MadeUpOrder(shared_stack)
    shouted = order.email.replace("example.com", "EXAMPLE.com")
    create = API.CreateSuppressionRequest(
        request_id=str(ULID()), email=shouted, reason="asked by phone"
    )
    first = await shared_stack.clients.notifications.CreateSuppression(create)
    assert (await shared_stack.clients.notifications.CreateSuppression(create)) == first
    create.request_id, create.reason = str(ULID()), "again"
    assert (await shared_stack.clients.notifications.CreateSuppression(create)) == first
    assert (first.suppression.email, first.suppression.reason) == (order.email, "asked by phone")
    paid = await order.payment_completed()
    suppressed = await order.mail_about(paid, "SUPPRESSED")

    delete = API.DeleteSuppressionRequest(request_id=str(ULID()), email=shouted)
    await shared_stack.clients.notifications.DeleteSuppression(delete)
    await shared_stack.clients.notifications.DeleteSuppression(delete)  # the same request
    delete.request_id = str(ULID())
    error = await refused(shared_stack.clients.notifications.DeleteSuppression(delete))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert reason_of(error) == "SUPPRESSION_NOT_FOUND"
    assert order.arrived() == []
    request_id = str(ULID())
    again = await resend(shared_stack, suppressed.notification_id, request_id)
    assert (await resend(shared_stack, suppressed.notification_id, request_id)) == again
    sent = await order.mail_about(paid, "SENT", resent=True)
    (text,) = order.arrived()
    assert order.code in text
    assert sent.message_id != suppressed.message_id


async def test_suppressions_come_in_pages_newest_first(shared_stack: RunningStack) -> None:
    emails = [MadeUpOrder(shared_stack).email for _ in range(3)]
    for email in emails:
        create = API.CreateSuppressionRequest(request_id=str(ULID()), email=email)
        await shared_stack.clients.notifications.CreateSuppression(create)
    found: list[str] = []
    request = API.ListSuppressionsRequest(page_size=1)
    while not set(emails) <= set(found):
        page = await shared_stack.clients.notifications.ListSuppressions(request)
        found += [entry.email for entry in page.suppressions]
        request.page_token = page.next_page_token
        assert page.next_page_token or set(emails) <= set(found)
    assert [email for email in found if email in emails] == emails[::-1]
    request.page_token = "nonsense"
    error = await refused(shared_stack.clients.notifications.ListSuppressions(request))
    assert reason_of(error) == "INVALID_PAGE_TOKEN"


async def test_a_mail_that_waits_is_not_sent_again(disruptable_stack: RunningStack) -> None:
    """The refusal names the mail, its status and the step."""
    order = MadeUpOrder(disruptable_stack, "+defer")
    waiting = await order.mail_about(await order.payment_completed(), "DEFERRED")
    error = await refused(resend(disruptable_stack, waiting.notification_id))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "NOTIFICATION_NOT_ENDED"
    status = rpc_status.from_call(error)
    assert status
    failure = error_details_pb2.PreconditionFailure()
    assert any(detail.Unpack(failure) for detail in status.details)
    (violation,) = failure.violations
    assert violation.subject == waiting.notification_id
    assert "sent again" in violation.description
    await order.heard(await order.code_event(AccessCodeRevoked, "REVOKED"))  # ends it
    await order.mail_about(waiting.event_id, "SUPPRESSED")


async def test_only_feedback_can_be_declined(shared_stack: RunningStack) -> None:
    """Declined by the customer: SUPPRESSED; the mail about their money comes all the same."""
    order = MadeUpOrder(shared_stack)
    token = shared_stack.stack.keys.token(order.customer_id, Role.CUSTOMER)
    async with shared_stack.stack.connect(token) as customer:
        ask = API.GetMailPreferencesRequest(customer_id=order.customer_id)
        before = await customer.notifications.GetMailPreferences(ask)
        assert not before.preferences.feedback_declined
        update = API.UpdateMailPreferencesRequest(
            request_id=str(ULID()), customer_id=order.customer_id, feedback_declined=True
        )
        after = await customer.notifications.UpdateMailPreferences(update)
        assert (await customer.notifications.GetMailPreferences(ask)).preferences == (
            after.preferences
        )
        declined = await order.mail_about(await order.feedback_published(), "SUPPRESSED")
        assert declined.last_error == "declined by the customer"
        await order.mail_about(await order.refund_completed("ACTIVE", full=False), "SENT")
        update = API.UpdateMailPreferencesRequest(
            request_id=str(ULID()), customer_id=order.customer_id
        )
        await customer.notifications.UpdateMailPreferences(update)
        await order.mail_about(await order.feedback_published(), "SENT")


async def test_a_customer_decides_for_themselves_only(shared_stack: RunningStack) -> None:
    """Others' preferences are refused, and the operator's calls are not theirs."""
    mine, others = MadeUpOrder(shared_stack).customer_id, MadeUpOrder(shared_stack).customer_id
    async with shared_stack.stack.connect(
        shared_stack.stack.keys.token(mine, Role.CUSTOMER)
    ) as customer:
        stub = customer.notifications
        calls: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (
                lambda: stub.GetMailPreferences(API.GetMailPreferencesRequest(customer_id=others)),
                "NOT_YOUR_CUSTOMER_ID",
            ),
            (
                lambda: stub.UpdateMailPreferences(
                    API.UpdateMailPreferencesRequest(request_id="r", customer_id=others)
                ),
                "NOT_YOUR_CUSTOMER_ID",
            ),
            (lambda: stub.ListSuppressions(API.ListSuppressionsRequest()), "METHOD_NOT_ALLOWED"),
            (
                lambda: stub.ResendNotification(
                    API.ResendNotificationRequest(request_id="r", notification_id=f"ntf_{ULID()}")
                ),
                "METHOD_NOT_ALLOWED",
            ),
        ]
        for call, reason in calls:
            error = await refused(call())
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            assert reason_of(error) == reason


@pytest.mark.parametrize("language", ["", "en", "zh-CN"])
async def test_every_mail_can_be_previewed(shared_stack: RunningStack, language: str) -> None:
    """With content made up; an event that nobody is mailed about has none."""
    for event_type in (
        "payment.v1.PaymentCompleted",
        "payment.v1.RefundCompleted",
        "payment.v1.AccessCodeReissued",
        "payment.v1.AccessCodeReinstated",
        "interview.v1.SessionCancelled",
        "interview.v1.FeedbackPublished",
    ):
        shown = await shared_stack.clients.notifications.PreviewEmail(
            API.PreviewEmailRequest(event_type=event_type, language_code=language)
        )
        assert ("Hello" in shown.text) is (language == "en")
        assert shown.subject in shown.html
    for event_type in ("payment.v1.AccessCodeRevoked", "letter", "../letter", "x"):
        error = await refused(
            shared_stack.clients.notifications.PreviewEmail(
                API.PreviewEmailRequest(event_type=event_type)
            )
        )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(error) == "EVENT_TYPE_WITHOUT_MAIL"


@pytest.mark.parametrize("reason", ["ACCESS_CODE_REVOKED", "USE_REJECTED", "REQUESTED"])
async def test_a_cancelled_session_is_told(shared_stack: RunningStack, reason: str) -> None:
    order = MadeUpOrder(shared_stack, language_code="zh-CN")
    await order.mail_about(await order.session_cancelled(reason), "SENT")
    (text,) = order.arrived()
    assert "已取消" in text


async def test_the_session_of_a_refunded_order_is_not_told_twice(
    shared_stack: RunningStack,
) -> None:
    """The refund's mail says all."""
    order = MadeUpOrder(shared_stack)
    await order.heard(await order.session_cancelled("REFUNDED"))
    await order.mail_about(await order.refund_completed(), "SENT")
    assert len(order.arrived()) == 1
