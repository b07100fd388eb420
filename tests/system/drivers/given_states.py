"""Brings orders, codes, sessions, mails, dead letters and notifications into a given state."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from devstack.polling import wait_until
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2
from tests.builders.payment_requests import charge_notification
from tests.system.drivers.access_codes import (
    change_access_code,
    expire_access_code,
    get_access_code,
)
from tests.system.drivers.db_faults import failing_session_insert
from tests.system.drivers.dead_letters import (
    discard_dead_letter,
    replay_dead_letter,
    wait_for_dead_letter,
)
from tests.system.drivers.fake_events import FakeOrder
from tests.system.drivers.interviews import Interview, prepared_interview, started_interview
from tests.system.drivers.payments import (
    cancel_order,
    expire_order,
    get_order,
    list_payments,
    wait_for_statuses,
)
from tests.system.drivers.refunds import create_refund, list_refunds, wait_for_refund
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.webhooks import deliver_signed_notification


@dataclass
class Given:
    """An object in a given state, the ids to call it by, and a function that reads its state."""

    stack: RunningStack
    read: Callable[[], Awaitable[object]]
    order_id: str = ""
    payment_id: str = ""
    access_code: access_code_pb2.AccessCode = field(default_factory=access_code_pb2.AccessCode)
    interview: Interview | None = None
    answered_question_id: str = "unknown"
    missed_question_id: str = "unknown"
    notification_id: str = ""
    payment_notification_id: str = ""
    dead_letter: ops_service_pb2.DeadLetter = field(default_factory=ops_service_pb2.DeadLetter)


# Orders and payments


async def given_order(stack: RunningStack, order_id: str) -> Given:
    """An order with its payments, refunds and access codes."""

    async def read() -> object:
        codes = access_code_service_pb2.ListAccessCodesRequest(order_id=order_id)
        return (
            await get_order(stack, order_id),
            list(await list_payments(stack, order_id)),
            [(refund.refund_id, refund.status) for refund in await list_refunds(stack, order_id)],
            await stack.clients.codes.ListAccessCodes(codes),
        )

    return Given(stack, read, order_id)


async def pending_order(stack: RunningStack) -> Given:
    return await given_order(stack, (await stack.journey().order()).order_id)


async def paid_order(stack: RunningStack) -> Given:
    return await given_order(stack, await stack.journey().paid_order())


async def refunded_order(stack: RunningStack, amount_minor: int | None = None) -> Given:
    order = await paid_order(stack)
    refund = await create_refund(stack, order.order_id, amount_minor)
    await wait_for_refund(stack, refund, "SUCCEEDED")
    return order


async def partially_refunded_order(stack: RunningStack) -> Given:
    return await refunded_order(stack, 100)


async def expired_order(stack: RunningStack) -> Given:
    order = await pending_order(stack)
    await expire_order(stack, order.order_id)
    await wait_for_statuses(stack, order.order_id, "EXPIRED")
    return order


async def cancelled_order(stack: RunningStack) -> Given:
    order = await pending_order(stack)
    await cancel_order(stack.clients, order.order_id)
    return order


async def order_with_a_processing_payment(stack: RunningStack) -> Given:
    """The provider has the charge and is suspended before it reports the outcome."""
    journey = stack.journey()
    order = await given_order(stack, (await journey.order()).order_id)
    payment = await journey.pay(order.order_id, "sandbox_late")
    stack.devstack.suspend("provider")
    order.payment_id = payment.payment_id
    return order


async def order_with_an_unknown_payment(stack: RunningStack) -> Given:
    """The provider does not answer."""
    journey = stack.journey()
    order = await given_order(stack, (await journey.order()).order_id)
    stack.devstack.suspend("provider")
    order.payment_id = (await journey.pay(order.order_id)).payment_id
    return order


async def order_with_a_pending_refund(stack: RunningStack) -> Given:
    """Interview is stopped, so that the refund waits for its answer."""
    await stack.devstack.terminate("interview")
    order = await paid_order(stack)
    await create_refund(stack, order.order_id)
    return order


# Access codes


async def given_access_code(stack: RunningStack, order_id: str) -> Given:
    """The order's current access code with its audit."""
    record = await get_access_code(stack, order_id)
    get = access_code_service_pb2.GetAccessCodeRequest(access_code_id=record.id)
    audit = access_code_service_pb2.ListAccessCodeEventsRequest(access_code_id=record.id)

    async def read() -> object:
        codes = stack.clients.codes
        return await codes.GetAccessCode(get), await codes.ListAccessCodeEvents(audit)

    return Given(stack, read, order_id, access_code=record)


async def active_code(stack: RunningStack) -> Given:
    return await given_access_code(stack, await stack.journey().paid_order())


async def suspended_code(stack: RunningStack) -> Given:
    return await _changed_code(stack, "Suspend")


async def revoked_code(stack: RunningStack) -> Given:
    return await _changed_code(stack, "Revoke")


async def reissued_code(stack: RunningStack) -> Given:
    return await _changed_code(stack, "Reissue")


async def _changed_code(stack: RunningStack, verb: str) -> Given:
    given = await active_code(stack)
    await change_access_code(stack.clients, verb, given.access_code.id)
    return given


async def redeemed_code(stack: RunningStack) -> Given:
    interview = await started_interview(stack)
    return await given_access_code(stack, interview.session.order_id)


async def expired_code(stack: RunningStack) -> Given:
    given = await active_code(stack)
    await expire_access_code(stack, given.order_id)
    is_expired = "SELECT status = 'EXPIRED' FROM payment.access_codes WHERE id = $1"
    await stack.wait_until_true(is_expired, given.access_code.id)
    return given


async def code_suspended_for_a_refund(stack: RunningStack) -> Given:
    order = await order_with_a_pending_refund(stack)
    return await given_access_code(stack, order.order_id)


# Sessions


async def given_session(interview: Interview) -> Given:
    """A session with its questions and answers."""

    async def read() -> object:
        return await interview.get_session(), await interview.list_qa_records()

    order_id = interview.session.order_id
    code = await get_access_code(interview.stack, order_id)
    return Given(interview.stack, read, order_id, access_code=code, interview=interview)


async def prepared_session(stack: RunningStack) -> Given:
    return await given_session(await prepared_interview(stack))


async def started_session(stack: RunningStack) -> Given:
    """The first question is answered, the time for the second is over."""
    interview = await started_interview(stack)
    answered = await interview.next_question()
    assert answered is not None
    await interview.answer(answered.question_id)
    missed = await interview.next_question()
    assert missed is not None
    await interview.expire_question()
    given = await given_session(interview)
    given.answered_question_id = answered.question_id
    given.missed_question_id = missed.question_id
    return given


async def session_started_during_a_broker_outage(stack: RunningStack) -> Given:
    """The broker is suspended, so that payment does not receive InterviewStarted."""
    journey, order_id, code = await stack.prepare_session()
    stack.devstack.suspend("nats")
    given = await given_session(Interview(stack, await journey.start(code)))
    assert given.access_code.status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE
    assert given.order_id == order_id
    return given


async def completed_session(stack: RunningStack) -> Given:
    interview = await started_interview(stack)
    await interview.complete()
    return await given_session(interview)


async def evaluated_session(stack: RunningStack) -> Given:
    interview = await started_interview(stack)
    await interview.complete()
    await interview.create_feedback()
    return await given_session(interview)


async def cancelled_session(stack: RunningStack) -> Given:
    interview = await started_interview(stack)
    await interview.cancel()
    return await given_session(interview)


async def expired_session(stack: RunningStack) -> Given:
    interview = await started_interview(stack)
    await interview.expire_session()
    await interview.wait_for_status("EXPIRED")
    return await given_session(interview)


async def session_expired_before_its_start(stack: RunningStack) -> Given:
    interview = await prepared_interview(stack)
    given = await given_session(interview)
    await expire_access_code(stack, given.order_id)
    await interview.wait_for_status("EXPIRED")
    return given


async def session_cancelled_before_its_start(stack: RunningStack) -> Given:
    interview = await prepared_interview(stack)
    given = await given_session(interview)
    await change_access_code(stack.clients, "Revoke", given.access_code.id)
    await interview.wait_for_status("CANCELLED")
    return given


# Mails


async def given_mail(stack: RunningStack, notification_id: str) -> Given:
    get = notification_service_pb2.GetNotificationRequest(notification_id=notification_id)

    async def read() -> object:
        return await stack.clients.notifications.GetNotification(get)

    return Given(stack, read, notification_id=notification_id)


async def _mail_waiting_for_an_hour(order: FakeOrder, status: str) -> Given:
    """A mail that the mailbox has deferred, kept in a status until its next attempt."""
    event_id = await order.publish(order.payment_completed())
    deferred = await order.wait_for_mail(event_id, "DEFERRED")
    await order.stack.wait_until_true(
        "WITH changed AS (UPDATE notification.notifications"
        " SET status = $2, due_at = now() + interval '1 hour'"
        " WHERE notification_id = $1 AND status = 'DEFERRED' RETURNING 1)"
        " SELECT EXISTS (SELECT FROM changed)",
        deferred.notification_id,
        status,
    )
    return await given_mail(order.stack, deferred.notification_id)


async def deferred_mail(stack: RunningStack) -> Given:
    return await _mail_waiting_for_an_hour(FakeOrder(stack, "+defer"), "DEFERRED")


async def mail_being_sent(stack: RunningStack) -> Given:
    """Its sender has died, and its claim has not run out."""
    return await _mail_waiting_for_an_hour(FakeOrder(stack, "+defer"), "SENDING")


async def queued_mail(stack: RunningStack) -> Given:
    """It waits until another mail of its order is sent."""
    order = FakeOrder(stack, "+defer")
    await _mail_waiting_for_an_hour(order, "SENDING")
    event_id = await order.publish(order.feedback_published())
    queued = await order.wait_for_mail(event_id, "QUEUED")
    return await given_mail(stack, queued.notification_id)


async def sent_mail(stack: RunningStack) -> Given:
    order = FakeOrder(stack)
    event_id = await order.publish(order.payment_completed())
    sent = await order.wait_for_mail(event_id, "SENT")
    return await given_mail(stack, sent.notification_id)


async def suppressed_mail(stack: RunningStack) -> Given:
    """Its code was no longer valid when it was about to be sent."""
    order = FakeOrder(stack, valid_days=-1)
    event_id = await order.publish(order.payment_completed())
    suppressed = await order.wait_for_mail(event_id, "SUPPRESSED")
    return await given_mail(stack, suppressed.notification_id)


# Dead letters


async def open_dead_letter(stack: RunningStack) -> Given:
    """A dead letter whose event can be handled now, because its fault is gone."""
    journey = stack.journey()
    order_id = (await journey.order()).order_id
    async with failing_session_insert(stack, order_id):
        await journey.pay(order_id)
        dead_letter = await wait_for_dead_letter(stack, order_id)
    get = ops_service_pb2.GetDeadLetterRequest(dead_letter_id=dead_letter.dead_letter_id)
    resolution = "SELECT resolution FROM interview.dead_letters WHERE dead_letter_id = $1"

    async def read() -> object:
        return (
            await stack.clients.ops["interview"].GetDeadLetter(get),
            await stack.fetch_value(resolution, dead_letter.dead_letter_id),
            (await stack.effects(order_id)).sessions,
        )

    return Given(stack, read, dead_letter=dead_letter)


async def handled_dead_letter(stack: RunningStack) -> Given:
    given = await open_dead_letter(stack)
    await replay_dead_letter(stack, given.dead_letter)
    return given


async def discarded_dead_letter(stack: RunningStack) -> Given:
    given = await open_dead_letter(stack)
    await discard_dead_letter(stack, given.dead_letter)
    return given


# Notifications of the payment provider


async def _payment_notification(stack: RunningStack, order: Given, **changes: object) -> Given:
    """A notification that the order's payment is captured."""
    [payment] = await list_payments(stack, order.order_id)
    reply = await deliver_signed_notification(stack, charge_notification(payment, **changes))
    id_ = reply.notification.payment_notification_id

    async def read() -> object:
        query = "SELECT status, dismissed_at FROM payment.provider_notifications"
        return await stack.fetch_rows(f"{query} WHERE provider_notification_id = $1", id_)

    return Given(stack, read, payment_notification_id=id_)


async def received_payment_notification(stack: RunningStack) -> Given:
    """It states another amount, and the provider does not answer which is right."""
    order = await order_with_an_unknown_payment(stack)
    return await _payment_notification(stack, order, amount_minor=1)


async def processed_payment_notification(stack: RunningStack) -> Given:
    given = await _payment_notification(stack, await paid_order(stack))

    async def processed() -> bool:
        return "PROCESSED" in str(await given.read())

    await wait_until(processed, "a processed notification")
    return given


# Each name is a state machine, a state, and in what way the state was reached.
GIVEN_STATES: Mapping[str, Callable[[RunningStack], Awaitable[Given]]] = {
    "order PENDING_PAYMENT": pending_order,
    "order PAID": paid_order,
    "order PARTIALLY_REFUNDED": partially_refunded_order,
    "order REFUNDED": refunded_order,
    "order EXPIRED": expired_order,
    "order CANCELLED": cancelled_order,
    "order REFUND_PENDING": order_with_a_pending_refund,
    "payment PROCESSING": order_with_a_processing_payment,
    "payment UNKNOWN": order_with_an_unknown_payment,
    "code ACTIVE": active_code,
    "code SUSPENDED by an operator": suspended_code,
    "code SUSPENDED for a refund": code_suspended_for_a_refund,
    "code REDEEMED": redeemed_code,
    "code EXPIRED": expired_code,
    "code REVOKED": revoked_code,
    "code REVOKED by a reissue": reissued_code,
    "session PREPARED": prepared_session,
    "session IN_PROGRESS": started_session,
    "session IN_PROGRESS during a broker outage": session_started_during_a_broker_outage,
    "session COMPLETED": completed_session,
    "session EVALUATED": evaluated_session,
    "session EXPIRED": expired_session,
    "session EXPIRED before its start": session_expired_before_its_start,
    "session CANCELLED": cancelled_session,
    "session CANCELLED before its start": session_cancelled_before_its_start,
    "mail QUEUED": queued_mail,
    "mail SENDING": mail_being_sent,
    "mail DEFERRED": deferred_mail,
    "mail SENT": sent_mail,
    "mail SUPPRESSED": suppressed_mail,
    "payment_notification RECEIVED": received_payment_notification,
    "payment_notification PROCESSED": processed_payment_notification,
    "dead_letter HANDLED": handled_dead_letter,
    "dead_letter DISCARDED": discarded_dead_letter,
}
