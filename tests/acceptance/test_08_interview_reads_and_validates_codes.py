"""interview reads and validates codes, and writes none: neither its calls nor its SQL can.

The database refuses its writes; during all of its calls, payment's role alone writes codes.
"""

from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from interview.v1 import interview_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2
from tests.system.drivers.access_code_writes import recorded_access_code_writes
from tests.system.drivers.effects import STARTED
from tests.system.drivers.running_stack import RunningStack

_WRITES = (
    "UPDATE payment.access_codes SET status = 'REDEEMED'",
    "UPDATE payment.access_codes SET status = status",
    "UPDATE payment.access_codes SET expire_at = now() + interval '1 year'",
    "INSERT INTO payment.access_codes (id, code, status) VALUES ('acc_x', 'x', 'ACTIVE')",
    "DELETE FROM payment.access_codes",
)


async def test_interview_reads_and_validates_a_code(shared_stack: RunningStack) -> None:
    """CheckAccessCode answers whether it is valid and for what; its role reads the shared table."""
    _, _, code = await shared_stack.prepare_session()
    reply = await shared_stack.clients.interviews.CheckAccessCode(
        interview_service_pb2.CheckAccessCodeRequest(access_code=code)
    )
    assert (reply.valid, reply.product_id) == (True, "backend-60")
    assert reply.reason == access_code_service_pb2.VALIDATION_REASON_VALID
    async with shared_stack.sql("interview_runtime") as connection:
        select = "SELECT status FROM payment.access_codes WHERE code = $1"
        assert await connection.fetchval(select, code) == "ACTIVE"


async def test_the_database_refuses_every_write_of_interview(shared_stack: RunningStack) -> None:
    """Both to the role that runs interview and to the one that migrates it."""
    await shared_stack.prepare_session()
    await shared_stack.wait_until_idle()
    codes = "SELECT array_agg(c ORDER BY id) FROM payment.access_codes c"
    before = await shared_stack.fetch_value(codes)
    for role in ("interview_runtime", "interview_owner"):
        async with shared_stack.sql(role) as connection:
            for write in _WRITES:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(write)
    assert await shared_stack.fetch_value(codes) == before


async def test_no_call_of_interview_writes_a_code(disruptable_stack: RunningStack) -> None:
    """After a call of each method, the code's one change is payment's, caused by the event."""
    journey, order_id, code = await disruptable_stack.prepare_session()
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
        recorded_access_code_writes(disruptable_stack) as writes,
        disruptable_stack.channel("interview") as channel,
    ):
        for method in service.methods:
            known |= await _call(channel, method, known)
        assert "session_id" in known
        await journey.wait_for_redemption(order_id)
        await disruptable_stack.wait_until_idle()
        assert await writes.roles_and_operations(order_id) == {("payment_runtime", "UPDATE")}
    effects = await disruptable_stack.effects(order_id)
    assert (effects.redeemed, effects.redemptions) == (STARTED.redeemed, STARTED.redemptions)


async def _call(
    channel: grpc.aio.Channel, method: MethodDescriptor, known: dict[str, Any]
) -> dict[str, str]:
    """Calls a method with the known fields; the ids in its reply, none if it is refused."""
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
    ids = {
        name: getattr(getattr(reply, field), name)
        for field, name in (("session", "session_id"), ("question", "question_id"))
        if field in method.output_type.fields_by_name
    }
    return {name: value for name, value in ids.items() if value}


def test_no_request_of_interview_has_a_code_status() -> None:
    """No request has a field for a code's status or record."""
    service = interview_service_pb2.DESCRIPTOR.services_by_name["InterviewService"]
    for method in service.methods:
        for field in method.input_type.fields:
            assert field.enum_type is not access_code_pb2.AccessCodeStatus.DESCRIPTOR
            assert field.message_type is not access_code_pb2.AccessCode.DESCRIPTOR
