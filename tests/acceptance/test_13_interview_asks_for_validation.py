"""interview asks for validation: StartSession calls payment's ValidateAccessCode.

It does so with a deadline: a payment that says nothing keeps nobody waiting for ever.
"""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clients import reason_of
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import ENVIRONMENT

METHOD = "/payment.v1.AccessCodeService/ValidateAccessCode"
DEADLINE = float(ENVIRONMENT["interview"]["INTERVIEW_VALIDATION_SECONDS"])


async def test_proof_13_a_start_asks_payment(shared_stack: RunningStack) -> None:
    """One more call of ValidateAccessCode, made by interview and answered."""
    journey, _, code = await shared_stack.prepared()
    asked = {"event": "call", "method": METHOD, "caller": "service:interview", "status": "OK"}
    before = len(shared_stack.log_lines("payment", **asked))
    await journey.start(code)
    assert len(shared_stack.log_lines("payment", **asked)) == before + 1


async def test_proof_13_the_question_has_a_deadline(disruptable_stack: RunningStack) -> None:
    """Payment takes the call and doesn't answer: the caller hears UNAVAILABLE in time.

    The code was never issued, so that nobody but payment could tell.
    """
    disruptable_stack.stack.suspend("payment")
    began = asyncio.get_running_loop().time()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await disruptable_stack.journey().start("0000-0000-0000-0000")
    waited = asyncio.get_running_loop().time() - began
    assert 0.8 * DEADLINE < waited < DEADLINE + 5
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused.value) == "PAYMENT_UNAVAILABLE"
    status = rpc_status.from_call(refused.value)
    assert status is not None
    assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
