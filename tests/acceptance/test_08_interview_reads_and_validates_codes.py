"""interview reads and validates codes, and writes none: no call and no SQL of it can.

The database refuses each of its writes, and over all of its calls only payment's role writes.
"""

from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from interview.v1 import interview_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2
from tests.system.drivers.access_code_writers import watched_codes
from tests.system.drivers.running_stack import STARTED, RunningStack

_WRITES = (
    "UPDATE payment.access_codes SET status = 'REDEEMED'",
    "UPDATE payment.access_codes SET status = status",
    "UPDATE payment.access_codes SET expire_at = now() + interval '1 year'",
    "INSERT INTO payment.access_codes (id, code, status) VALUES ('acc_x', 'x', 'ACTIVE')",
    "DELETE FROM payment.access_codes",
)


async def test_proof_08_interview_reads_and_validates(shared_stack: RunningStack) -> None:
    """It tells whether a code is valid and for what, and finds it in the shared table."""
    _, _, code = await shared_stack.prepared()
    reply = await shared_stack.clients.interviews.CheckAccessCode(
        interview_service_pb2.CheckAccessCodeRequest(access_code=code)
    )
    assert (reply.valid, reply.product_id) == (True, "backend-60")
    assert reply.reason == access_code_service_pb2.VALIDATION_REASON_VALID
    async with shared_stack.sql("interview_runtime") as connection:
        select = "SELECT status FROM payment.access_codes WHERE code = $1"
        assert await connection.fetchval(select, code) == "ACTIVE"


@pytest.mark.parametrize("role", ["interview_runtime", "interview_owner"])
@pytest.mark.parametrize("write", _WRITES)
async def test_proof_08_the_database_refuses_every_write(
    shared_stack: RunningStack, role: str, write: str
) -> None:
    """Neither the role that runs interview nor the one that migrates it changes a code."""
    await shared_stack.prepared()
    codes = "SELECT array_agg(c ORDER BY id) FROM payment.access_codes c"
    before = await shared_stack.value(codes)
    async with shared_stack.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(write)
    assert await shared_stack.value(codes) == before


async def test_proof_08_no_call_of_interview_writes_a_code(disruptable_stack: RunningStack) -> None:
    """All its calls, for a real session; the one change of the code is payment's, by the event."""
    journey, order_id, code = await disruptable_stack.prepared()
    known: dict[str, Any] = {
        "request_id": f"{journey.name}-all",
        "access_code": code,
        "answer": "an answer",
        "rating": 5,
        "summary": "fine",
        "repair": True,
    }
    service = interview_service_pb2.DESCRIPTOR.services_by_name["InterviewService"]
    async with (
        watched_codes(disruptable_stack) as writers,
        disruptable_stack.channel("interview") as channel,
    ):
        for method in service.methods:
            reply = await _called(channel, method, known)
            if session_id := reply.get("session_id"):
                known["session_id"] = session_id
            if question_id := reply.get("question_id"):
                known["question_id"] = question_id
        assert "session_id" in known
        await journey.redeemed(order_id)
        await disruptable_stack.wait_until_idle()
        assert await writers.seen() == {("payment_runtime", "UPDATE")}
    effects = await disruptable_stack.effects(order_id)
    assert (effects.redeemed, effects.redemptions) == (STARTED.redeemed, STARTED.redemptions)


async def _called(
    channel: grpc.aio.Channel, method: MethodDescriptor, known: dict[str, Any]
) -> dict[str, str]:
    """Calls with what is known; ids that the reply tells. A refusal tells none."""
    request = message_factory.GetMessageClass(method.input_type)()
    for field in method.input_type.fields:
        if field.name in known:
            setattr(request, field.name, known[field.name])
    call = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
    try:
        data = await call(request.SerializeToString(), timeout=30)
    except grpc.aio.AioRpcError:
        return {}
    reply: Any = message_factory.GetMessageClass(method.output_type).FromString(data)
    return {
        name: getattr(getattr(reply, part), name)
        for part, name in (("session", "session_id"), ("question", "question_id"))
        if part in method.output_type.fields_by_name
    }


def test_proof_08_no_call_of_interview_takes_a_status() -> None:
    """None of its requests could say what a code is to become."""
    service = interview_service_pb2.DESCRIPTOR.services_by_name["InterviewService"]
    for method in service.methods:
        for field in method.input_type.fields:
            assert field.enum_type is not access_code_pb2.AccessCodeStatus.DESCRIPTOR
            assert field.message_type is not access_code_pb2.AccessCode.DESCRIPTOR
