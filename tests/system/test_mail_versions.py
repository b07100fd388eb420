"""PROOF 34: a code never arrives after it changed, and nobody is left without theirs."""

import asyncio

import pytest

from payment.v1 import access_code_pb2, access_code_service_pb2
from payment.v1 import events_pb2 as payment_events
from tests.system.drivers.fake_events import MadeUpOrder
from tests.system.drivers.running_stack import RunningStack

OUTDATED = "the access code has changed since"


async def _waiting(disruptable_stack: RunningStack) -> tuple[MadeUpOrder, str]:
    """An order whose code's mail waits, since the mailbox is away."""
    await disruptable_stack.stack.kill("mailbox")
    order = MadeUpOrder(disruptable_stack)
    paid = await order.payment_completed()
    await order.mail_about(paid, "DEFERRED")
    return order, paid


async def test_a_code_revoked_while_its_mail_waits_never_arrives(
    disruptable_stack: RunningStack,
) -> None:
    """SUPPRESSED when the mailbox is back; the mail that tells of the cancelled session comes."""
    order, paid = await _waiting(disruptable_stack)
    await order.heard(await order.code_event(payment_events.AccessCodeRevoked, "REVOKED"))
    cancelled = await order.session_cancelled("ACCESS_CODE_REVOKED")
    await disruptable_stack.stack.start("mailbox")
    suppressed = await order.mail_about(paid, "SUPPRESSED")
    assert suppressed.last_error == OUTDATED
    assert not suppressed.HasField("next_attempt_at")
    await order.mail_about(cancelled, "SENT")
    assert not [text for text in order.arrived() if order.code in text]


@pytest.mark.parametrize("status", ["REVOKED", "EXPIRED"])
async def test_the_refunds_mail_arrives_and_the_codes_does_not(
    disruptable_stack: RunningStack, status: str
) -> None:
    """Requested and completed while the code's mail waited."""
    order, paid = await _waiting(disruptable_stack)
    await order.heard(await order.refund_requested())
    refunded = await order.refund_completed(status)
    await disruptable_stack.stack.start("mailbox")
    await order.mail_about(refunded, "SENT")
    await order.mail_about(paid, "SUPPRESSED")
    (text,) = order.arrived()
    assert "CNY 199.00" in text
    assert order.code not in text


async def test_a_code_reinstated_while_its_mail_waits_arrives_once(
    disruptable_stack: RunningStack,
) -> None:
    """By the mail that says that it works again."""
    order, paid = await _waiting(disruptable_stack)
    await order.heard(await order.code_event(payment_events.AccessCodeSuspended, "SUSPENDED"))
    again = await order.code_event(payment_events.AccessCodeReinstated, "ACTIVE")
    await order.heard(again)
    await disruptable_stack.stack.start("mailbox")
    await order.mail_about(again, "SENT")
    await order.mail_about(paid, "SUPPRESSED")
    (text,) = order.arrived()
    assert order.code in text
    assert "works again" in order.mails()[0]["Subject"]


async def test_a_code_that_only_the_operator_let_go_is_not_told(
    disruptable_stack: RunningStack,
) -> None:
    """Still held by a refund: the version rises, and no mail says that it works."""
    order, paid = await _waiting(disruptable_stack)
    again = await order.code_event(payment_events.AccessCodeReinstated, "SUSPENDED")
    await order.heard(again)
    await disruptable_stack.stack.start("mailbox")
    await order.mail_about(paid, "SUPPRESSED")
    await disruptable_stack.wait_until_idle()
    assert order.arrived() == []


@pytest.mark.parametrize("suppressed_before", [True, False])
async def test_a_failed_refund_brings_the_code_that_its_request_held_back(
    disruptable_stack: RunningStack, suppressed_before: bool
) -> None:
    """As a resend under its own Message-ID, whether or not the first was SUPPRESSED by then."""
    order, paid = await _waiting(disruptable_stack)
    await order.heard(await order.refund_requested())
    if suppressed_before:
        await disruptable_stack.stack.start("mailbox")
        await order.mail_about(paid, "SUPPRESSED")
    await order.heard(await order.refund_failed())
    if not suppressed_before:
        await disruptable_stack.stack.start("mailbox")
    again = await order.mail_about(paid, "SENT", resent=True)
    first = await order.mail_about(paid, "SUPPRESSED")
    assert again.resend_of == first.notification_id
    await disruptable_stack.wait_until_idle()
    (text,) = order.arrived()
    assert order.code in text


async def test_a_failed_refund_sends_no_second_mail(disruptable_stack: RunningStack) -> None:
    """The code had arrived before the refund was asked for."""
    order = MadeUpOrder(disruptable_stack)
    await order.mail_about(await order.payment_completed(), "SENT")
    await order.heard(await order.refund_requested())
    await order.heard(await order.refund_failed())
    await disruptable_stack.wait_until_idle()
    assert len(order.arrived()) == 1


async def test_a_replaced_code_arrives_and_the_old_one_does_not(
    disruptable_stack: RunningStack,
) -> None:
    order, paid = await _waiting(disruptable_stack)
    old, new = order.code, MadeUpOrder(disruptable_stack)
    order.code, replaced = new.code, order.access_code_id
    order.access_code_id = new.access_code_id
    event = await order.publish(
        "payment",
        payment_events.AccessCodeReissued(
            order_id=order.order_id,
            record=order.record("ACTIVE"),
            replaced_access_code_id=replaced,
            recipient=access_code_pb2.Recipient(email=order.email, language_code="en"),
            customer_id=order.customer_id,
        ),
    )
    await order.heard(event)
    await disruptable_stack.stack.start("mailbox")
    await order.mail_about(event, "SENT")
    await order.mail_about(paid, "SUPPRESSED")
    (text,) = order.arrived()
    assert new.code in text
    assert old not in text


async def test_a_redeemed_code_is_not_mailed_any_more(disruptable_stack: RunningStack) -> None:
    """A real journey: the customer has the code from elsewhere and starts while SMTP is away."""
    await disruptable_stack.stack.kill("mailbox")
    journey = disruptable_stack.journey()
    order_id = await journey.paid_order()
    await journey.prepared(order_id)
    code = await disruptable_stack.clients.codes.GetAccessCode(
        access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
    )
    await journey.start(code.record.code)
    await journey.redeemed(order_id)
    await disruptable_stack.until_true(
        "SELECT status = 'REDEEMED' FROM notification.code_versions WHERE order_id = $1", order_id
    )
    await disruptable_stack.stack.start("mailbox")
    await disruptable_stack.until_true(
        "SELECT status = 'SUPPRESSED' FROM notification.notifications WHERE order_id = $1",
        order_id,
    )
    assert disruptable_stack.mails(journey) == []


async def test_mails_of_one_order_wait_for_each_other(disruptable_stack: RunningStack) -> None:
    """While one is being handed over, the next isn't claimed; both arrive, in their order."""
    disruptable_stack.stack.suspend("mailbox")
    order = MadeUpOrder(disruptable_stack)
    paid = await order.payment_completed()
    await order.mail_about(paid, "SENDING")
    refunded = await order.refund_completed()
    await order.mail_about(refunded, "QUEUED")
    disruptable_stack.stack.resume("mailbox")
    await order.mail_about(refunded, "SENT")
    assert "CNY 199.00" in order.arrived()[-1]


@pytest.mark.timeout(180)
async def test_whenever_mails_are_claimed_codes_of_failed_refunds_all_arrive(
    disruptable_stack: RunningStack,
) -> None:
    """Refunds fail while mails are claimed, held back and sent: each order gets its code.

    Those that are refunded in the end get no code after their refund's mail.
    """
    orders = [MadeUpOrder(disruptable_stack) for _ in range(24)]
    paid = [await order.payment_completed() for order in orders]

    async def refunds(order: MadeUpOrder, *, in_the_end: bool) -> str:
        last = ""
        for _ in range(4):
            await order.refund_requested()
            last = await order.refund_failed()
        if in_the_end:
            await order.refund_requested()
            last = await order.refund_completed()
        return last

    async with asyncio.TaskGroup() as group:
        ends = [
            group.create_task(refunds(order, in_the_end=number % 3 == 0))
            for number, order in enumerate(orders)
        ]
    for order, event, end in zip(orders, paid, ends, strict=True):
        await order.heard(event)
        await order.heard(end.result())
    await disruptable_stack.wait_until_idle()
    for number, order in enumerate(orders):
        told = [order.code in text for text in order.arrived()]
        if number % 3 == 0:
            assert not told[-1]
            assert told.count(False) == 1
        else:
            assert any(told)


async def test_a_code_held_back_in_the_moment_its_refund_fails_arrives(
    disruptable_stack: RunningStack,
) -> None:
    """The claim that holds the mail back hasn't committed yet: the event waits for it."""
    order, paid = await _waiting(disruptable_stack)
    async with disruptable_stack.sql() as claim, claim.transaction():
        await claim.execute(
            "UPDATE notification.notifications SET status = 'SUPPRESSED', due_at = NULL,"
            " suppression_reason = 'CODE_OUTDATED' WHERE order_id = $1",
            order.order_id,
        )
        await order.heard(await order.refund_requested())
        event = await order.refund_failed()
        await disruptable_stack.until_true(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            " OR EXISTS (SELECT FROM notification.inbox WHERE event_id = $1)",
            event,
        )
    await disruptable_stack.stack.start("mailbox")
    await order.mail_about(paid, "SENT", resent=True)
    (text,) = order.arrived()
    assert order.code in text
