"""payment → interview by event: an order is paid while interview is stopped.

The payment succeeds, and the session appears when interview is back.
"""

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_proof_11_an_order_is_paid_while_interview_is_away(
    disruptable_stack: RunningStack, how: str
) -> None:
    """SUCCEEDED and mailed without interview; its session comes late, once, and starts."""
    if how == "stopped":
        await disruptable_stack.stack.terminate("interview")
    else:
        await disruptable_stack.stack.kill("interview")
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    await journey.sent(order_id)
    assert not disruptable_stack.stack.is_running("interview")
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.stack.start("interview")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await journey.start((await disruptable_stack.code(order_id)).code)
    await disruptable_stack.wait_for_effects(order_id, STARTED)
