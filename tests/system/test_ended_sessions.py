"""A start of a session that has ended: the reason depends on whether it was ever started."""

import grpc
import pytest

from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.interviews import started_interview
from tests.system.drivers.running_stack import RunningStack

_END_SESSION = "UPDATE interview.sessions SET status = $2, ended_at = now() WHERE order_id = $1"


@pytest.mark.parametrize(
    ("status", "reason"),
    [("EXPIRED", "ACCESS_CODE_EXPIRED"), ("CANCELLED", "ACCESS_CODE_REVOKED")],
)
async def test_a_session_that_ended_before_its_start_gets_its_codes_reason(
    shared_stack: RunningStack, status: str, reason: str
) -> None:
    """Although the code is still ACTIVE in payment and in interview's cache."""
    journey, order_id, code = await shared_stack.prepare_session()
    await shared_stack.execute(_END_SESSION, order_id, status)
    with raises_rpc_error(reason, grpc.StatusCode.FAILED_PRECONDITION):
        await journey.start(code)


@pytest.mark.parametrize("status", ["EXPIRED", "CANCELLED", "COMPLETED"])
async def test_a_session_that_ended_after_its_start_gets_redeemed(
    shared_stack: RunningStack, status: str
) -> None:
    """Although the code is ACTIVE in payment and in interview's cache."""
    interview = await started_interview(shared_stack)
    order_id = interview.session.order_id
    code = (await shared_stack.access_code(order_id)).code
    await shared_stack.execute(_END_SESSION, order_id, status)
    for table in ("payment.access_codes", "interview.cached_codes"):
        await shared_stack.execute(
            f"UPDATE {table} SET status = 'ACTIVE' WHERE order_id = $1",  # noqa: S608
            order_id,
        )
    with raises_rpc_error("ACCESS_CODE_REDEEMED"):
        await shared_stack.journey().start(code)
