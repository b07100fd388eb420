"""Shared model AccessCode: one proto message describes a code, and both domains use that one.

payment and interview serve the very same descriptor, no contract has a twin of it, and what
payment puts into it is what interview takes out of it.
"""

import re
from typing import cast

from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from devstack.commands import PROJECT
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2
from runtime.protobuf import to_datetime
from tests.system.drivers.running_stack import STARTED, RunningStack

_MESSAGE = re.compile(r"^message (AccessCode\w*) \{", re.MULTILINE)


async def _defining(outside: RunningStack, server: str, message: str) -> bytes:
    """The file that defines a message, as a server's reflection shows it; b"" if it knows none."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=message)
    async with outside.channel(server) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        async for answer in stub.ServerReflectionInfo(iter([request])):
            reply = cast("reflection_pb2.ServerReflectionResponse", answer)
            for data in reply.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                if message in {f"{file.package}.{one.name}" for one in file.message_type}:
                    return data
    return b""


async def test_proof_06_both_domains_serve_one_and_the_same_message(
    shared_stack: RunningStack,
) -> None:
    """Byte for byte the same file; interview has none of its own."""
    model = "payment.v1.AccessCode"
    assert await _defining(shared_stack, "payment", model)
    assert await _defining(shared_stack, "interview", model) == await _defining(
        shared_stack, "payment", model
    )
    assert not await _defining(shared_stack, "interview", "interview.v1.AccessCode")


def test_proof_06_no_contract_has_a_twin_of_it() -> None:
    """Of all contracts one defines AccessCode, and replies and events refer to it."""
    protos = PROJECT / "protos"
    found = {
        path.relative_to(protos).as_posix(): names
        for path in protos.rglob("*.proto")
        if "AccessCode" in (names := _MESSAGE.findall(path.read_text("utf-8")))
    }
    assert list(found) == ["payment/v1/access_code.proto"]
    for user in (
        access_code_service_pb2.ValidateAccessCodeResponse,
        access_code_service_pb2.GetAccessCodeResponse,
        events_pb2.AccessCodeRedeemed,
    ):
        field = user.DESCRIPTOR.fields_by_name["record"]
        assert field.message_type is access_code_pb2.AccessCode.DESCRIPTOR


async def test_proof_06_interview_takes_in_what_payment_put_into_it(
    shared_stack: RunningStack,
) -> None:
    """The record in the event, in payment's reply and in interview's copy say the same."""
    journey, order_id, code = await shared_stack.prepared()
    await journey.start(code)
    record = await journey.redeemed(order_id)
    await shared_stack.wait_for_effects(order_id, STARTED)
    message = await shared_stack.stored(f"payment.v1.AccessCodeRedeemed.{order_id}")
    assert events_pb2.AccessCodeRedeemed.FromString(message.data or b"").record == record
    (copy,) = await shared_stack.rows(
        "SELECT access_code_id, code, status, expire_at, version FROM interview.cached_codes"
        " WHERE order_id = $1",
        order_id,
    )
    expire_at = to_datetime(record.expire_at)
    assert tuple(copy) == (record.id, code, "REDEEMED", expire_at, record.version)
