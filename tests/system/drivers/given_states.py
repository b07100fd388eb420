"""Orders, codes, sessions, mails and dead letters, brought to where a test wants them to stand."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2
from tests.system.drivers.access_codes import change, code_expired
from tests.system.drivers.db_faults import dead_letter, no_session_for, replay_of
from tests.system.drivers.fake_events import MadeUpOrder
from tests.system.drivers.interviews import Interview, session_of, started, time_over
from tests.system.drivers.payments import came_to_stand, cancelling, let_time_run_out, payments
from tests.system.drivers.refunds import Desk
from tests.system.drivers.running_stack import RunningStack


@dataclass
class Thing:
    """What stands in the state that is wanted, and how it is looked at."""

    outside: RunningStack
    look: Callable[[], Awaitable[object]]
    order_id: str = ""
    payment_id: str = ""
    code: access_code_pb2.AccessCode = field(default_factory=access_code_pb2.AccessCode)
    interview: Interview | None = None
    questions: tuple[str, str] = ("", "")
    notification_id: str = ""
    letter: ops_service_pb2.DeadLetter = field(default_factory=ops_service_pb2.DeadLetter)


async def ordered(outside: RunningStack, order_id: str) -> Thing:
    """An order with its payments, refunds and codes."""

    async def look() -> object:
        clients, refunds = outside.clients, payment_service_pb2.ListRefundsRequest
        codes = access_code_service_pb2.ListAccessCodesRequest(order_id=order_id)
        listed = (await clients.payments.ListRefunds(refunds(order_id=order_id))).refunds
        return (
            await Desk(outside).order(order_id),
            list(await payments(outside, order_id)),
            [(one.refund_id, one.status) for one in listed],
            await clients.codes.ListAccessCodes(codes),
        )

    return Thing(outside, look, order_id)


async def pending_order(outside: RunningStack) -> Thing:
    return await ordered(outside, (await outside.journey().order()).order_id)


async def paid_order(outside: RunningStack) -> Thing:
    return await ordered(outside, await outside.journey().paid_order())


async def refunded_order(outside: RunningStack, minor: int | None = None) -> Thing:
    order, desk = await paid_order(outside), Desk(outside)
    await desk.becomes(await desk.refund(order.order_id, minor), "SUCCEEDED")
    return order


async def partially_refunded_order(outside: RunningStack) -> Thing:
    return await refunded_order(outside, 100)


async def expired_order(outside: RunningStack) -> Thing:
    order = await pending_order(outside)
    await let_time_run_out(outside, order.order_id)
    await came_to_stand(outside, order.order_id, "EXPIRED")
    return order


async def cancelled_order(outside: RunningStack) -> Thing:
    order = await pending_order(outside)
    await outside.clients.payments.CancelOrder(cancelling(order.order_id, secrets.token_hex(8)))
    return order


async def order_with_a_payment_processing(outside: RunningStack) -> Thing:
    """The provider has it, and is suspended before it tells."""
    journey = outside.journey()
    order = await ordered(outside, (await journey.order()).order_id)
    payment = await journey.pay(order.order_id, "sandbox_late")
    outside.stack.suspend("provider")
    order.payment_id = payment.payment_id
    return order


async def order_with_a_payment_unknown(outside: RunningStack) -> Thing:
    """The provider doesn't answer."""
    journey = outside.journey()
    order = await ordered(outside, (await journey.order()).order_id)
    outside.stack.suspend("provider")
    order.payment_id = (await journey.pay(order.order_id)).payment_id
    return order


async def order_with_a_refund_pending(outside: RunningStack) -> Thing:
    """Interview is away, so its answer is waited for."""
    await outside.stack.terminate("interview")
    order = await paid_order(outside)
    await Desk(outside).refund(order.order_id)
    return order


async def coded(outside: RunningStack, order_id: str, code: access_code_pb2.AccessCode) -> Thing:
    """A code with its audit."""
    get = access_code_service_pb2.GetAccessCodeRequest(access_code_id=code.id)

    async def look() -> object:
        codes = outside.clients.codes
        return await codes.GetAccessCode(get), await Desk(outside).audit(code.id)

    return Thing(outside, look, order_id, code=code)


async def active_code(outside: RunningStack) -> Thing:
    order_id = await outside.journey().paid_order()
    return await coded(outside, order_id, await Desk(outside).code(order_id))


async def changed_code(outside: RunningStack, verb: str) -> Thing:
    thing = await active_code(outside)
    await change(outside.clients, verb, thing.code.id)
    return thing


async def suspended_code(outside: RunningStack) -> Thing:
    return await changed_code(outside, "Suspend")


async def revoked_code(outside: RunningStack) -> Thing:
    return await changed_code(outside, "Revoke")


async def reissued_code(outside: RunningStack) -> Thing:
    return await changed_code(outside, "Reissue")


async def redeemed_code(outside: RunningStack) -> Thing:
    order_id = (await started(outside)).session.order_id
    return await coded(outside, order_id, await Desk(outside).code(order_id))


async def expired_code(outside: RunningStack) -> Thing:
    thing = await active_code(outside)
    await code_expired(outside, thing.order_id)
    swept = "SELECT status = 'EXPIRED' FROM payment.access_codes WHERE id = $1"
    await outside.until_true(swept, thing.code.id)
    return thing


async def code_suspended_for_a_refund(outside: RunningStack) -> Thing:
    order_id = (await order_with_a_refund_pending(outside)).order_id
    return await coded(outside, order_id, await Desk(outside).code(order_id))


async def seated(interview: Interview, *questions: str) -> Thing:
    """A session with its questions; the answered one and the missed one, if there are."""

    async def look() -> object:
        return await interview.now(), await interview.records()

    order_id = interview.session.order_id
    code = await Desk(interview.outside).code(order_id)
    answered, missed = questions or ("unheard-of", "unheard-of")
    return Thing(
        interview.outside,
        look,
        order_id,
        code=code,
        interview=interview,
        questions=(answered, missed),
    )


async def prepared_session(outside: RunningStack) -> Thing:
    _, order_id, _ = await outside.prepared()
    return await seated(Interview(outside, await session_of(outside, order_id)))


async def running_session(outside: RunningStack) -> Thing:
    """One question is answered, the next was missed."""
    interview, asked = await started(outside), []
    for answers in (True, False):
        question = await interview.next_question()
        assert question is not None
        asked.append(question.question_id)
        if answers:
            await interview.answer(question.question_id)
    await time_over(interview, "answer_by")
    return await seated(interview, *asked)


async def session_unheard_of(outside: RunningStack) -> Thing:
    """Nobody hears that it has started while the broker is suspended."""
    journey, order_id, code = await outside.prepared()
    outside.stack.suspend("nats")
    interview = Interview(outside, await journey.start(code))
    thing = await seated(interview)
    assert thing.code.status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE
    assert thing.order_id == order_id
    return thing


async def completed_session(outside: RunningStack) -> Thing:
    interview = await started(outside)
    await interview.complete()
    return await seated(interview)


async def evaluated_session(outside: RunningStack) -> Thing:
    interview = await started(outside)
    await interview.complete()
    await interview.evaluate()
    return await seated(interview)


async def cancelled_session(outside: RunningStack) -> Thing:
    interview = await started(outside)
    await interview.cancel()
    return await seated(interview)


async def expired_session(outside: RunningStack) -> Thing:
    interview = await started(outside)
    await time_over(interview, "deadline_at")
    await interview.becomes("EXPIRED")
    return await seated(interview)


async def session_expired_before_its_start(outside: RunningStack) -> Thing:
    thing = await prepared_session(outside)
    await code_expired(outside, thing.order_id)
    assert thing.interview
    await thing.interview.becomes("EXPIRED")
    return thing


async def session_cancelled_before_its_start(outside: RunningStack) -> Thing:
    thing = await prepared_session(outside)
    await change(outside.clients, "Revoke", thing.code.id)
    assert thing.interview
    await thing.interview.becomes("CANCELLED")
    return thing


async def mailed(outside: RunningStack, notification_id: str) -> Thing:
    """A mail."""
    get = notification_service_pb2.GetNotificationRequest(notification_id=notification_id)

    async def look() -> object:
        return await outside.clients.notifications.GetNotification(get)

    return Thing(outside, look, notification_id=notification_id)


async def held_up(order: MadeUpOrder, status: str) -> Thing:
    """A mail that the mailbox doesn't take yet: it stays so, DEFERRED or as its sender left it."""
    waiting = await order.mail_about(await order.payment_completed(), "DEFERRED")
    await order.outside.until_true(
        "WITH held AS (UPDATE notification.notifications"
        " SET status = $2, due_at = now() + interval '1 hour'"
        " WHERE notification_id = $1 AND status = 'DEFERRED' RETURNING 1)"
        " SELECT EXISTS (SELECT FROM held)",
        waiting.notification_id,
        status,
    )
    return await mailed(order.outside, waiting.notification_id)


async def deferred_mail(outside: RunningStack) -> Thing:
    return await held_up(MadeUpOrder(outside, "+defer"), "DEFERRED")


async def mail_being_sent(outside: RunningStack) -> Thing:
    """Its sender died a moment ago, and its claim lasts."""
    return await held_up(MadeUpOrder(outside, "+defer"), "SENDING")


async def queued_mail(outside: RunningStack) -> Thing:
    """It waits until another mail of its order is sent."""
    order = MadeUpOrder(outside, "+defer")
    await held_up(order, "SENDING")
    waiting = await order.mail_about(await order.feedback_published(), "QUEUED")
    return await mailed(outside, waiting.notification_id)


async def buried(outside: RunningStack) -> Thing:
    """A dead letter whose event could be handled now."""
    journey = outside.journey()
    order_id = (await journey.order()).order_id
    async with no_session_for(outside, order_id):
        await journey.pay(order_id)
        letter = await dead_letter(outside, order_id)
    get = ops_service_pb2.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id)
    decided = "SELECT resolution FROM interview.dead_letters WHERE dead_letter_id = $1"

    async def look() -> object:
        shown = await outside.clients.ops["interview"].GetDeadLetter(get)
        sessions = (await outside.effects(order_id)).sessions
        return shown, await outside.value(decided, letter.dead_letter_id), sessions

    return Thing(outside, look, letter=letter)


async def replay(thing: Thing) -> None:
    request = replay_of(thing.letter, secrets.token_hex(8))
    await thing.outside.clients.ops["interview"].ReplayDeadLetter(request)


async def discard(thing: Thing) -> None:
    request = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=thing.letter.dead_letter_id, request_id=secrets.token_hex(8)
    )
    await thing.outside.clients.ops["interview"].DiscardDeadLetter(request)


async def handled_letter(outside: RunningStack) -> Thing:
    thing = await buried(outside)
    await replay(thing)
    return thing


async def discarded_letter(outside: RunningStack) -> Thing:
    thing = await buried(outside)
    await discard(thing)
    return thing


REACHED: Mapping[str, Callable[[RunningStack], Awaitable[Thing]]] = {
    "order PENDING_PAYMENT": pending_order,
    "order PAID": paid_order,
    "order PARTIALLY_REFUNDED": partially_refunded_order,
    "order REFUNDED": refunded_order,
    "order EXPIRED": expired_order,
    "order CANCELLED": cancelled_order,
    "order REFUND_PENDING": order_with_a_refund_pending,
    "payment PROCESSING": order_with_a_payment_processing,
    "payment UNKNOWN": order_with_a_payment_unknown,
    "code ACTIVE": active_code,
    "code SUSPENDED by an operator": suspended_code,
    "code SUSPENDED for a refund": code_suspended_for_a_refund,
    "code REDEEMED": redeemed_code,
    "code EXPIRED": expired_code,
    "code REVOKED": revoked_code,
    "code REVOKED by a reissue": reissued_code,
    "session PREPARED": prepared_session,
    "session IN_PROGRESS": running_session,
    "session IN_PROGRESS unheard of by payment": session_unheard_of,
    "session COMPLETED": completed_session,
    "session EVALUATED": evaluated_session,
    "session EXPIRED": expired_session,
    "session EXPIRED before its start": session_expired_before_its_start,
    "session CANCELLED": cancelled_session,
    "session CANCELLED before its start": session_cancelled_before_its_start,
    "mail QUEUED": queued_mail,
    "mail SENDING": mail_being_sent,
    "mail DEFERRED": deferred_mail,
    "letter HANDLED": handled_letter,
    "letter DISCARDED": discarded_letter,
}
