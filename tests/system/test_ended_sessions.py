"""A session that ended before anybody started it says why; its code isn't said to be used."""

import grpc
import pytest

from clients import reason_of
from tests.system.drivers.interviews import put, started
from tests.system.drivers.running_stack import RunningStack


@pytest.mark.parametrize(
    ("status", "reason"),
    [("EXPIRED", "ACCESS_CODE_EXPIRED"), ("CANCELLED", "ACCESS_CODE_REVOKED")],
)
async def test_a_session_that_ended_unstarted_isnt_said_to_be_used(
    shared_stack: RunningStack, status: str, reason: str
) -> None:
    """The code is still good for payment and for interview's copy."""
    journey, order_id, code = await shared_stack.prepared()
    end = "UPDATE interview.sessions SET status = $2, ended_at = now() WHERE order_id = $1"
    await put(shared_stack, end, order_id, status)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await journey.start(code)
    assert reason_of(refused.value) == reason
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("status", ["EXPIRED", "CANCELLED", "COMPLETED"])
async def test_a_session_that_was_started_and_ended_is_used(
    shared_stack: RunningStack, status: str
) -> None:
    """Also if neither payment nor interview's copy has the code as used."""
    interview = await started(shared_stack)
    order_id = interview.session.order_id
    code = (await shared_stack.code(order_id)).code
    for change in (
        "UPDATE interview.sessions SET status = $2, ended_at = now() WHERE order_id = $1",
        "UPDATE payment.access_codes SET status = 'ACTIVE' WHERE order_id = $1 AND $2 <> ''",
        "UPDATE interview.cached_codes SET status = 'ACTIVE' WHERE order_id = $1 AND $2 <> ''",
    ):
        await put(shared_stack, change, order_id, status)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shared_stack.journey().start(code)
    assert reason_of(refused.value) == "ACCESS_CODE_REDEEMED"
