"""payment → interview by event: an order is paid while interview is stopped.

The payment succeeds, and the session appears when interview is back.
"""

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.running_stack import PAID, STARTED, Outside


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_proof_11_an_order_is_paid_while_interview_is_away(rough: Outside, how: str) -> None:
    """SUCCEEDED and mailed without interview; its session comes late, once, and starts."""
    if how == "stopped":
        await rough.stack.terminate("interview")
    else:
        await rough.stack.kill("interview")
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    await journey.sent(order_id)
    assert not rough.stack.is_running("interview")
    assert (await rough.effects(order_id)).sessions == 0
    await rough.stack.start("interview")
    await rough.came_to(order_id, PAID)
    await journey.start((await rough.code(order_id)).code)
    await rough.came_to(order_id, STARTED)
