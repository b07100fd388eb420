"""interview asks for validation: StartSession calls payment's ValidateAccessCode.

The call has a deadline, so that a start ends in time even if payment does not answer.
"""

import asyncio

from tests.system.drivers.grpc_calls import raises_payment_unavailable
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import ENVIRONMENT

METHOD = "/payment.v1.AccessCodeService/ValidateAccessCode"
DEADLINE_SECONDS = float(ENVIRONMENT["interview"]["INTERVIEW_VALIDATION_TIMEOUT_SECONDS"])


async def test_a_start_calls_validate_access_code(shared_stack: RunningStack) -> None:
    """Payment serves one such call of interview."""
    journey, _, code = await shared_stack.prepare_session()
    call = {"event": "call", "method": METHOD, "caller": "service:interview", "status": "OK"}
    before = len(shared_stack.log_entries("payment", **call))
    await journey.start(code)
    calls = await shared_stack.wait_for_log_entries("payment", before + 1, **call)
    assert len(calls) == before + 1


async def test_the_validation_has_a_deadline(disruptable_stack: RunningStack) -> None:
    """Payment takes the call and does not answer: the start ends UNAVAILABLE in time.

    The code was never issued, so that interview cannot decide from its cache.
    """
    disruptable_stack.devstack.suspend("payment")
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    with raises_payment_unavailable():
        await disruptable_stack.journey().start("0000-0000-0000-0000")
    assert 0.8 * DEADLINE_SECONDS < loop.time() - started_at < DEADLINE_SECONDS + 5
