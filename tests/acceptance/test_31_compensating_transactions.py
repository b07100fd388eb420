"""Compensating transactions: a full refund asks interview first, and goes by its answer.

Not started: the money goes back, the code is revoked, the session called off. Started: the refund
is rejected and nothing else happens. And a start with a code that was revoked is undone.
"""

import grpc
import pytest

from clients import reason_of
from devstack.demo.journey import Journey
from devstack.polling import wait_until
from interview.v1 import events_pb2 as interview_events
from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import access_code_pb2, events_pb2, payment_service_pb2
from tests.system.drivers.access_codes import feed_is_fresh, record_of, revoke
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack, paid_for_sure, retry

Pay = payment_service_pb2


async def _refund(outside: RunningStack, order_id: str) -> Pay.Refund:
    request = Pay.CreateRefundRequest(request_id=f"{order_id}-refund", order_id=order_id)
    return (await outside.clients.payments.CreateRefund(request)).refund


async def _refund_becomes(
    outside: RunningStack, refund_id: str, status: Pay.RefundStatus.ValueType
) -> Pay.Refund:
    async def look() -> Pay.Refund | None:
        request = Pay.GetRefundRequest(refund_id=refund_id)
        refund = (await outside.clients.payments.GetRefund(request)).refund
        return refund if refund.status == status else None

    return await wait_until(look, f"{refund_id} {Pay.RefundStatus.Name(status)}", 60)


async def _order(outside: RunningStack, order_id: str) -> Pay.Order:
    request = Pay.GetOrderRequest(order_id=order_id)
    return (await outside.clients.payments.GetOrder(request)).order


async def _session_becomes(
    journey: Journey, order_id: str, status: session_pb2.SessionStatus.ValueType
) -> session_pb2.Session:
    async def look() -> session_pb2.Session | None:
        session = await journey.prepared(order_id)
        return session if session.status == status else None

    return await wait_until(look, f"{order_id}'s session {status}", 60)


async def _mail_about(outside: RunningStack, order_id: str, event_type: str) -> None:
    """Waits until the mail about an event of the order is SENT."""
    request = notification_service_pb2.ListNotificationsRequest(
        order_id=order_id, status=notification_service_pb2.NOTIFICATION_STATUS_SENT
    )

    async def look() -> bool:
        found = (await outside.clients.notifications.ListNotifications(request)).notifications
        return event_type in {one.event_type for one in found}

    await wait_until(look, f"the mail about {event_type}", 60)


async def test_proof_31_a_refund_before_the_start_takes_everything_back(
    shared_stack: RunningStack,
) -> None:
    """Interview withholds the session, then money, code and session go, and a mail tells."""
    journey, order_id, code = await shared_stack.prepared()
    await shared_stack.wait_for_effects(order_id, PAID)
    refund = await _refund(shared_stack, order_id)
    assert (refund.status, refund.full) == (Pay.REFUND_STATUS_PENDING, True)
    assert refund.amount == (await _order(shared_stack, order_id)).price
    refund = await _refund_becomes(shared_stack, refund.refund_id, Pay.REFUND_STATUS_SUCCEEDED)
    asked = await shared_stack.stored(f"payment.v1.RefundRequested.{order_id}")
    question = events_pb2.RefundRequested.FromString(asked.data or b"")
    suspended = access_code_pb2.ACCESS_CODE_STATUS_SUSPENDED
    assert (question.refund_id, question.record.status) == (refund.refund_id, suspended)
    answered = await shared_stack.stored(f"interview.v1.SessionWithheld.{order_id}")
    answer = interview_events.SessionWithheld.FromString(answered.data or b"")
    assert answer.refund_id == refund.refund_id
    completed = await shared_stack.stored(f"payment.v1.RefundCompleted.{order_id}")
    event = events_pb2.RefundCompleted.FromString(completed.data or b"")
    assert (event.refund_id, event.full, event.amount) == (refund.refund_id, True, refund.amount)
    order = await _order(shared_stack, order_id)
    assert (order.status, order.refunded) == (Pay.ORDER_STATUS_REFUNDED, order.price)
    record = await record_of(shared_stack, order_id)
    assert record.status == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    cancelled = session_pb2.SESSION_STATUS_CANCELLED
    session = await _session_becomes(journey, order_id, cancelled)
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_REFUNDED
    await _mail_about(shared_stack, order_id, "payment.v1.RefundCompleted")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await journey.start(code)
    assert reason_of(refused.value) == "ACCESS_CODE_REVOKED"


async def test_proof_31_a_refund_after_the_start_is_rejected(
    disruptable_stack: RunningStack,
) -> None:
    """The start hadn't been heard of when the refund began: it wins, and nothing is paid back."""
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await disruptable_stack.stack.kill("nats")
    session = await journey.start(code)
    refund = await _refund(disruptable_stack, order_id)
    assert refund.status == Pay.REFUND_STATUS_PENDING
    assert (await _order(disruptable_stack, order_id)).status == Pay.ORDER_STATUS_REFUND_PENDING
    await disruptable_stack.stack.start("nats")
    await _refund_becomes(disruptable_stack, refund.refund_id, Pay.REFUND_STATUS_REJECTED)
    await disruptable_stack.wait_until_idle()
    record = await record_of(disruptable_stack, order_id)
    assert record.status == access_code_pb2.ACCESS_CODE_STATUS_REDEEMED
    assert record.redeemed_session_id == session.session_id
    order = await _order(disruptable_stack, order_id)
    assert (order.status, order.refunded.amount_minor) == (Pay.ORDER_STATUS_PAID, 0)
    rejected = await disruptable_stack.stored(f"payment.v1.RefundRejected.{order_id}")
    event = events_pb2.RefundRejected.FromString(rejected.data or b"")
    assert (event.refund_id, event.session_id) == (refund.refund_id, session.session_id)
    assert await disruptable_stack.stored_count(f"payment.v1.RefundCompleted.{order_id}") == 0
    assert await disruptable_stack.effects(order_id) == STARTED
    request = Pay.CreateRefundRequest(request_id=f"{order_id}-again", order_id=order_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await disruptable_stack.clients.payments.CreateRefund(request)
    assert reason_of(refused.value) == "ACCESS_CODE_REDEEMED"


async def test_proof_31_a_refund_that_the_provider_refuses_gives_the_code_back(
    shared_stack: RunningStack,
) -> None:
    """FAILED; the hold is lifted, the order is PAID, and the interview starts."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await paid_for_sure(journey, order_id, "sandbox_no_refund")
    await journey.prepared(order_id)
    refund = await _refund(shared_stack, order_id)
    refund = await _refund_becomes(shared_stack, refund.refund_id, Pay.REFUND_STATUS_FAILED)
    assert refund.failure_reason
    assert (await _order(shared_stack, order_id)).status == Pay.ORDER_STATUS_PAID
    record = await record_of(shared_stack, order_id)
    assert (record.status, list(record.holds)) == (access_code_pb2.ACCESS_CODE_STATUS_ACTIVE, [])
    await shared_stack.wait_until_idle()
    await journey.start(record.code)
    await journey.redeemed(order_id)


async def test_proof_31_a_start_on_a_revoked_code_is_undone(
    disruptable_stack: RunningStack,
) -> None:
    """The session that it started is called off, and a mail tells.

    The code is revoked while the broker is away; payment goes away too, and a start by the local
    cache passes. Back again, payment rejects the use.
    """
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await feed_is_fresh(disruptable_stack)
    await disruptable_stack.stack.kill("nats")
    await revoke(disruptable_stack, order_id)
    await disruptable_stack.stack.kill("payment")
    session = await retry(lambda: journey.start(code), "a start by the local cache")
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    await disruptable_stack.stack.start("nats")
    await disruptable_stack.stack.start("payment")
    undone = await _session_becomes(journey, order_id, session_pb2.SESSION_STATUS_CANCELLED)
    assert undone.session_id == session.session_id
    assert undone.cancel_reason == session_pb2.SESSION_CANCEL_REASON_USE_REJECTED
    message = await disruptable_stack.stored(f"payment.v1.AccessCodeUseRejected.{order_id}")
    rejected = events_pb2.AccessCodeUseRejected.FromString(message.data or b"")
    revoked = access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert (rejected.session_id, rejected.judged_as) == (session.session_id, revoked)
    cancelled = await disruptable_stack.stored(f"interview.v1.SessionCancelled.{order_id}")
    event = interview_events.SessionCancelled.FromString(cancelled.data or b"")
    assert (event.session_id, event.was_started) == (session.session_id, True)
    await _mail_about(disruptable_stack, order_id, "interview.v1.SessionCancelled")
    assert (await record_of(disruptable_stack, order_id)).status == revoked
    request = interview_service_pb2.GetSessionRequest(session_id=session.session_id)
    found = (await disruptable_stack.clients.interviews.GetSession(request)).session
    assert found.status == session_pb2.SESSION_STATUS_CANCELLED
