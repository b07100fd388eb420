"""Non-critical work is asynchronous: payment answers while the mail server is blocked.

The mail arrives when the mail server is back.
"""

import asyncio

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.effects import PAID
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import ENVIRONMENT

SMTP_TIMEOUT_SECONDS = float(ENVIRONMENT["notification"]["NOTIFICATION_SMTP_TIMEOUT_SECONDS"])


@pytest.mark.parametrize("how", ["silent", "killed"])
async def test_payment_answers_while_smtp_is_blocked(
    disruptable_stack: RunningStack, how: str
) -> None:
    """The order is paid in less time than one SMTP attempt takes; it is mailed afterwards."""
    if how == "silent":
        disruptable_stack.devstack.suspend("mailbox")
    else:
        await disruptable_stack.devstack.kill("mailbox")
    journey = disruptable_stack.journey()
    async with asyncio.timeout(SMTP_TIMEOUT_SECONDS):
        order_id = (await journey.order()).order_id
        payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    await journey.wait_for_session(order_id)
    attempted = "SELECT attempts > 0 FROM notification.notifications WHERE order_id = $1"
    await disruptable_stack.wait_until_true(attempted, order_id)
    assert disruptable_stack.mails(journey) == []
    if how == "silent":
        disruptable_stack.devstack.resume("mailbox")
    else:
        await disruptable_stack.devstack.start("mailbox")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert len({mail["Message-ID"] for mail in disruptable_stack.mails(journey)}) == 1
