"""payment → interview by event: an order is paid while interview is stopped.

The payment succeeds, and the session is prepared when interview is back.
"""

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.running_stack import RunningStack


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_an_order_is_paid_while_interview_is_down(
    disruptable_stack: RunningStack, how: str
) -> None:
    """The payment is SUCCEEDED and mailed; later there is one session, which starts."""
    if how == "stopped":
        await disruptable_stack.devstack.terminate("interview")
    else:
        await disruptable_stack.devstack.kill("interview")
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    await journey.wait_for_sent_mail(order_id)
    assert not disruptable_stack.devstack.is_running("interview")
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.devstack.start("interview")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await journey.start((await disruptable_stack.access_code(order_id)).code)
    await disruptable_stack.wait_for_effects(order_id, STARTED)
