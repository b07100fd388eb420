"""Compensating transactions: a full refund asks interview first, and depends on its answer.

Not started: the money is refunded, the code revoked, the session cancelled. Started: the refund is
rejected, and nothing else changes. A start with a code that was revoked is reverted, and does not
count against a refund.
"""

from devstack.polling import wait_until
from interview.v1 import events_pb2 as interview_events
from interview.v1 import session_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import access_code_pb2, events_pb2, payment_service_pb2
from runtime.violations import violations
from tests.system.drivers.access_codes import (
    change_current_access_code,
    get_access_code,
    wait_for_fresh_watermark,
)
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.grpc_calls import raises_rpc_error, retry
from tests.system.drivers.interviews import Interview, get_session_of
from tests.system.drivers.payments import get_order, pay_until_succeeded
from tests.system.drivers.refunds import create_refund, wait_for_refund
from tests.system.drivers.running_stack import RunningStack, event_id


async def _wait_for_mail_about(stack: RunningStack, order_id: str, event_type: str) -> None:
    """Waits until the mail about an event of the order is SENT."""
    request = notification_service_pb2.ListNotificationsRequest(
        order_id=order_id, status=notification_service_pb2.NOTIFICATION_STATUS_SENT
    )

    async def is_sent() -> bool:
        sent = (await stack.clients.notifications.ListNotifications(request)).notifications
        return event_type in {notification.event_type for notification in sent}

    await wait_until(is_sent, f"the mail about {event_type}", 60)


async def test_a_refund_before_the_start_refunds_the_money_and_cancels_the_session(
    shared_stack: RunningStack,
) -> None:
    """Interview withholds the session first; the customer is informed by mail."""
    journey, order_id, code = await shared_stack.prepare_session()
    await shared_stack.wait_for_effects(order_id, PAID)
    refund = await create_refund(shared_stack, order_id)
    assert (refund.status, refund.full) == (payment_service_pb2.REFUND_STATUS_PENDING, True)
    refund = await wait_for_refund(shared_stack, refund, "SUCCEEDED")
    withheld = await shared_stack.wait_for_event(interview_events.SessionWithheld, order_id)
    assert withheld.refund_id == refund.refund_id
    completed = await shared_stack.wait_for_event(events_pb2.RefundCompleted, order_id)
    assert (completed.refund_id, completed.full) == (refund.refund_id, True)
    assert completed.amount == refund.amount
    order = await get_order(shared_stack, order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_REFUNDED
    assert order.refunded == order.price
    record = await get_access_code(shared_stack, order_id)
    assert record.status == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    interview = Interview(shared_stack, await get_session_of(shared_stack, order_id))
    session = await interview.wait_for_status("CANCELLED")
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_REFUNDED
    cancelled = await shared_stack.wait_for_event(interview_events.SessionCancelled, order_id)
    assert (cancelled.was_started, cancelled.cancel_reason) == (False, session.cancel_reason)
    assert cancelled.recipient == order.recipient
    assert violations(cancelled) == []
    await _wait_for_mail_about(shared_stack, order_id, "payment.v1.RefundCompleted")
    with raises_rpc_error("ACCESS_CODE_REVOKED"):
        await journey.start(code)


async def test_a_refund_after_the_start_is_rejected(disruptable_stack: RunningStack) -> None:
    """The refund is created before payment receives InterviewStarted: no money is refunded."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await disruptable_stack.devstack.kill("nats")
    session = await journey.start(code)
    refund = await create_refund(disruptable_stack, order_id)
    assert refund.status == payment_service_pb2.REFUND_STATUS_PENDING
    order = await get_order(disruptable_stack, order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_REFUND_PENDING
    await disruptable_stack.devstack.start("nats")
    await wait_for_refund(disruptable_stack, refund, "REJECTED")
    await disruptable_stack.wait_until_idle()
    record = await get_access_code(disruptable_stack, order_id)
    assert record.status == access_code_pb2.ACCESS_CODE_STATUS_REDEEMED
    assert record.redeemed_session_id == session.session_id
    order = await get_order(disruptable_stack, order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_PAID
    assert order.refunded.amount_minor == 0
    rejected = await disruptable_stack.wait_for_event(events_pb2.RefundRejected, order_id)
    assert (rejected.refund_id, rejected.session_id) == (refund.refund_id, session.session_id)
    assert await disruptable_stack.message_count(f"payment.v1.RefundCompleted.{order_id}") == 0
    assert await disruptable_stack.effects(order_id) == STARTED
    with raises_rpc_error("ACCESS_CODE_REDEEMED"):
        await create_refund(disruptable_stack, order_id)


async def test_a_refund_that_the_provider_declines_reinstates_the_code(
    shared_stack: RunningStack,
) -> None:
    """The refund is FAILED, the hold is lifted, the order is PAID, and the interview starts."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await pay_until_succeeded(journey, order_id, "sandbox_no_refund")
    await journey.wait_for_session(order_id)
    refund = await create_refund(shared_stack, order_id)
    refund = await wait_for_refund(shared_stack, refund, "FAILED")
    assert refund.failure_reason
    order = await get_order(shared_stack, order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_PAID
    record = await get_access_code(shared_stack, order_id)
    assert (record.status, list(record.holds)) == (access_code_pb2.ACCESS_CODE_STATUS_ACTIVE, [])
    failed = await shared_stack.wait_for_event(events_pb2.RefundFailed, order_id)
    assert (failed.record, failed.failure_reason) == (record, refund.failure_reason)
    assert violations(failed) == []
    await shared_stack.wait_until_idle()
    await journey.start(record.code)
    await journey.wait_for_redemption(order_id)


async def test_a_start_with_a_revoked_code_is_reverted_and_rejects_no_refund(
    disruptable_stack: RunningStack,
) -> None:
    """The started session is cancelled, the customer is informed by mail and gets the money back.

    The code is revoked and a refund created while the broker is down; payment goes down too, so
    that interview starts the session from its local cache. Back again, payment rejects the use.
    """
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await wait_for_fresh_watermark(disruptable_stack)
    await disruptable_stack.devstack.kill("nats")
    await change_current_access_code(disruptable_stack, "Revoke", order_id)
    refund = await create_refund(disruptable_stack, order_id)
    revoked = await get_access_code(disruptable_stack, order_id)
    await disruptable_stack.devstack.kill("payment")
    session = await retry(lambda: journey.start(code), "a start from the local cache")
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    await disruptable_stack.devstack.start("nats")
    await disruptable_stack.devstack.start("payment")
    interview = Interview(disruptable_stack, session)
    reverted = await interview.wait_for_status("CANCELLED")
    assert reverted.cancel_reason == session_pb2.SESSION_CANCEL_REASON_USE_REJECTED
    assert not reverted.used_without_right
    rejected = await disruptable_stack.wait_for_event(events_pb2.AccessCodeUseRejected, order_id)
    assert rejected.session_id == session.session_id
    assert rejected.judged_as == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert rejected.record == revoked
    # Interview's reconciliation may have published the start once more.
    starts = await disruptable_stack.read_messages(f"interview.v1.InterviewStarted.{order_id}")
    assert rejected.cause_event_id in [event_id(message) for message in starts]
    cancelled = await disruptable_stack.wait_for_event(interview_events.SessionCancelled, order_id)
    assert (cancelled.session_id, cancelled.was_started) == (session.session_id, True)
    assert cancelled.recipient == (await get_order(disruptable_stack, order_id)).recipient
    await _wait_for_mail_about(disruptable_stack, order_id, "interview.v1.SessionCancelled")
    await wait_for_refund(disruptable_stack, refund, "SUCCEEDED")
    order = await get_order(disruptable_stack, order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_REFUNDED
