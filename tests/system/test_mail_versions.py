"""Mails of codes that change while they wait: an outdated code is never sent, a valid one always.

A mail waits while the mail server is down; the code's version decides when it is sent.
"""

import asyncio

import pytest

from payment.v1 import events_pb2
from tests.system.drivers.access_codes import get_access_code
from tests.system.drivers.fake_events import FakeOrder, wait_until_handled
from tests.system.drivers.running_stack import RunningStack

OUTDATED = "the access code has changed since"


async def _order_with_waiting_mail(stack: RunningStack) -> tuple[FakeOrder, str]:
    """An order whose mail is DEFERRED because the mail server is down, and its event's id."""
    await stack.devstack.kill("mailbox")
    order = FakeOrder(stack)
    paid_id = await order.publish(order.payment_completed())
    await order.wait_for_mail(paid_id, "DEFERRED")
    return order, paid_id


async def test_a_code_revoked_while_its_mail_waits_is_not_sent(
    disruptable_stack: RunningStack,
) -> None:
    """Its mail is SUPPRESSED; the mail about the cancelled session is sent."""
    order, paid_id = await _order_with_waiting_mail(disruptable_stack)
    revoked = order.access_code_event(events_pb2.AccessCodeRevoked, "REVOKED")
    await order.publish(revoked, handled_by="notification")
    cancelled_id = await order.publish(order.session_cancelled("ACCESS_CODE_REVOKED"))
    await disruptable_stack.devstack.start("mailbox")
    suppressed = await order.wait_for_mail(paid_id, "SUPPRESSED")
    assert suppressed.last_error == OUTDATED
    assert not suppressed.HasField("next_attempt_at")
    await order.wait_for_mail(cancelled_id, "SENT")
    assert not [text for text in order.mail_texts() if order.access_code in text]


@pytest.mark.parametrize("status", ["REVOKED", "EXPIRED"])
async def test_after_a_refund_its_mail_is_sent_and_the_codes_is_not(
    disruptable_stack: RunningStack, status: str
) -> None:
    """The refund is requested and completed while the code's mail waits."""
    order, paid_id = await _order_with_waiting_mail(disruptable_stack)
    await order.publish(order.refund_requested(), handled_by="notification")
    refunded_id = await order.publish(order.refund_completed(status))
    await disruptable_stack.devstack.start("mailbox")
    await order.wait_for_mail(refunded_id, "SENT")
    await order.wait_for_mail(paid_id, "SUPPRESSED")
    (text,) = order.mail_texts()
    assert "CNY 199.00" in text
    assert order.access_code not in text


async def test_a_code_reinstated_while_its_mail_waits_is_sent_once(
    disruptable_stack: RunningStack,
) -> None:
    """By the mail about the reinstatement."""
    order, paid_id = await _order_with_waiting_mail(disruptable_stack)
    suspended = order.access_code_event(events_pb2.AccessCodeSuspended, "SUSPENDED")
    await order.publish(suspended, handled_by="notification")
    reinstated = order.access_code_event(events_pb2.AccessCodeReinstated, "ACTIVE")
    reinstated_id = await order.publish(reinstated, handled_by="notification")
    await disruptable_stack.devstack.start("mailbox")
    await order.wait_for_mail(reinstated_id, "SENT")
    await order.wait_for_mail(paid_id, "SUPPRESSED")
    (text,) = order.mail_texts()
    assert order.access_code in text
    assert "works again" in order.mails()[0]["Subject"]


async def test_a_reinstated_code_that_a_refund_still_holds_is_not_sent(
    disruptable_stack: RunningStack,
) -> None:
    """The operator's hold is lifted, the version rises, and no mail is sent."""
    order, paid_id = await _order_with_waiting_mail(disruptable_stack)
    reinstated = order.access_code_event(events_pb2.AccessCodeReinstated, "SUSPENDED")
    await order.publish(reinstated, handled_by="notification")
    await disruptable_stack.devstack.start("mailbox")
    await order.wait_for_mail(paid_id, "SUPPRESSED")
    await disruptable_stack.wait_until_idle()
    assert order.mail_texts() == []


@pytest.mark.parametrize("suppressed_before", [True, False])
async def test_a_code_whose_refund_failed_is_sent_although_its_mail_was_suppressed(
    disruptable_stack: RunningStack, suppressed_before: bool
) -> None:
    """As a resend, whether the mail is suppressed before or after the refund fails."""
    order, paid_id = await _order_with_waiting_mail(disruptable_stack)
    await order.publish(order.refund_requested(), handled_by="notification")
    if suppressed_before:
        await disruptable_stack.devstack.start("mailbox")
        await order.wait_for_mail(paid_id, "SUPPRESSED")
    await order.publish(order.refund_failed(), handled_by="notification")
    if not suppressed_before:
        await disruptable_stack.devstack.start("mailbox")
    resent = await order.wait_for_mail(paid_id, "SENT", resent=True)
    suppressed = await order.wait_for_mail(paid_id, "SUPPRESSED")
    assert resent.resend_of == suppressed.notification_id
    await disruptable_stack.wait_until_idle()
    (text,) = order.mail_texts()
    assert order.access_code in text


async def test_a_code_that_was_sent_before_its_refund_failed_is_not_sent_again(
    disruptable_stack: RunningStack,
) -> None:
    order = FakeOrder(disruptable_stack)
    await order.wait_for_mail(await order.publish(order.payment_completed()), "SENT")
    await order.publish(order.refund_requested(), handled_by="notification")
    await order.publish(order.refund_failed(), handled_by="notification")
    await disruptable_stack.wait_until_idle()
    assert len(order.mail_texts()) == 1


async def test_a_reissued_code_is_sent_and_the_old_one_is_not(
    disruptable_stack: RunningStack,
) -> None:
    order, paid_id = await _order_with_waiting_mail(disruptable_stack)
    old_code = order.access_code
    reissued_id = await order.publish(order.access_code_reissued(), handled_by="notification")
    await disruptable_stack.devstack.start("mailbox")
    await order.wait_for_mail(reissued_id, "SENT")
    await order.wait_for_mail(paid_id, "SUPPRESSED")
    (text,) = order.mail_texts()
    assert order.access_code in text
    assert old_code not in text


async def test_a_redeemed_code_is_not_sent(disruptable_stack: RunningStack) -> None:
    """In a real journey: the customer has the code from an operator and starts."""
    await disruptable_stack.devstack.kill("mailbox")
    journey = disruptable_stack.journey()
    order_id = await journey.paid_order()
    await journey.wait_for_session(order_id)
    await journey.start((await get_access_code(disruptable_stack, order_id)).code)
    await journey.wait_for_redemption(order_id)
    await disruptable_stack.wait_until_true(
        "SELECT status = 'REDEEMED' FROM notification.code_versions WHERE order_id = $1", order_id
    )
    await disruptable_stack.devstack.start("mailbox")
    await disruptable_stack.wait_until_true(
        "SELECT status = 'SUPPRESSED' FROM notification.notifications WHERE order_id = $1",
        order_id,
    )
    assert disruptable_stack.mails(journey) == []


async def test_mails_of_one_order_are_sent_one_after_the_other(
    disruptable_stack: RunningStack,
) -> None:
    """While one is being sent, the next is not claimed; they arrive in order."""
    disruptable_stack.devstack.suspend("mailbox")
    order = FakeOrder(disruptable_stack)
    paid_id = await order.publish(order.payment_completed())
    await order.wait_for_mail(paid_id, "SENDING")
    refunded_id = await order.publish(order.refund_completed())
    await order.wait_for_mail(refunded_id, "QUEUED")
    disruptable_stack.devstack.resume("mailbox")
    await order.wait_for_mail(refunded_id, "SENT")
    assert "CNY 199.00" in order.mail_texts()[-1]


@pytest.mark.timeout(180)
async def test_codes_of_failed_refunds_are_all_sent_however_refunds_and_mails_interleave(
    disruptable_stack: RunningStack,
) -> None:
    """Refunds fail while mails are claimed, suppressed and sent.

    Every third order is refunded in the end: no code is sent after the mail about its refund.
    """
    orders = [FakeOrder(disruptable_stack) for _ in range(24)]
    paid_ids = [await order.publish(order.payment_completed()) for order in orders]

    async def publish_refunds(order: FakeOrder, *, completed: bool) -> str:
        for _ in range(4):
            await order.publish(order.refund_requested())
            final_id = await order.publish(order.refund_failed())
        if completed:
            await order.publish(order.refund_requested())
            final_id = await order.publish(order.refund_completed())
        return final_id

    async with asyncio.TaskGroup() as group:
        refunds = [
            group.create_task(publish_refunds(order, completed=number % 3 == 0))
            for number, order in enumerate(orders)
        ]
    for event_id in (*paid_ids, *(refund.result() for refund in refunds)):
        await wait_until_handled(disruptable_stack, "notification", event_id)
    await disruptable_stack.wait_until_idle()
    for number, order in enumerate(orders):
        with_code = [order.access_code in text for text in order.mail_texts()]
        if number % 3 == 0:
            assert not with_code[-1]
            assert with_code.count(False) == 1
        else:
            assert any(with_code)


async def test_a_code_whose_mail_is_suppressed_while_its_refund_fails_is_sent(
    disruptable_stack: RunningStack,
) -> None:
    """The suppression is not committed yet: the event's handler waits for it."""
    order, paid_id = await _order_with_waiting_mail(disruptable_stack)
    async with disruptable_stack.sql() as superuser, superuser.transaction():
        await superuser.execute(
            "UPDATE notification.notifications SET status = 'SUPPRESSED', due_at = NULL,"
            " suppression_reason = 'CODE_OUTDATED' WHERE order_id = $1",
            order.order_id,
        )
        await order.publish(order.refund_requested(), handled_by="notification")
        failed_id = await order.publish(order.refund_failed())
        await disruptable_stack.wait_until_true(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            " OR EXISTS (SELECT FROM notification.inbox WHERE event_id = $1)",
            failed_id,
        )
    await disruptable_stack.devstack.start("mailbox")
    await order.wait_for_mail(paid_id, "SENT", resent=True)
    (text,) = order.mail_texts()
    assert order.access_code in text
