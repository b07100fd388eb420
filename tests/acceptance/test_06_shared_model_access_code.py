"""Shared model AccessCode: one protobuf message describes a code, and both domains use it.

Payment and interview serve the same descriptor, no other contract defines such a message, and
interview stores the record that payment publishes.
"""

import re
from typing import cast

from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from devstack.commands import PROJECT
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2
from runtime.protobuf import to_datetime
from tests.system.drivers.effects import STARTED
from tests.system.drivers.running_stack import RunningStack

_MESSAGE = re.compile(r"^message (AccessCode\w*) \{", re.MULTILINE)


async def _defining_file(stack: RunningStack, server: str, message: str) -> bytes:
    """The file that defines a message, by a server's reflection; b"" if the server has none."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=message)
    async with stack.channel(server) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        async for response in stub.ServerReflectionInfo(iter([request])):
            reply = cast("reflection_pb2.ServerReflectionResponse", response)
            for data in reply.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                if message in {f"{file.package}.{entry.name}" for entry in file.message_type}:
                    return data
    return b""


async def test_both_domains_serve_the_same_message(shared_stack: RunningStack) -> None:
    """The defining file is the same, byte for byte; interview defines no AccessCode."""
    message = "payment.v1.AccessCode"
    file = await _defining_file(shared_stack, "payment", message)
    assert file
    assert await _defining_file(shared_stack, "interview", message) == file
    assert not await _defining_file(shared_stack, "interview", "interview.v1.AccessCode")


def test_one_contract_defines_the_message() -> None:
    """Replies and events of all contracts refer to it."""
    protos = PROJECT / "protos"
    defining = [
        path.relative_to(protos).as_posix()
        for path in protos.rglob("*.proto")
        if "AccessCode" in _MESSAGE.findall(path.read_text("utf-8"))
    ]
    assert defining == ["payment/v1/access_code.proto"]
    for message in (
        access_code_service_pb2.ValidateAccessCodeResponse,
        access_code_service_pb2.GetAccessCodeResponse,
        events_pb2.AccessCodeRedeemed,
    ):
        field = message.DESCRIPTOR.fields_by_name["record"]
        assert field.message_type is access_code_pb2.AccessCode.DESCRIPTOR


async def test_interview_stores_the_record_that_payment_publishes(
    shared_stack: RunningStack,
) -> None:
    """The event, payment's reply and interview's cached code agree."""
    journey, order_id, code = await shared_stack.prepare_session()
    await journey.start(code)
    record = await journey.wait_for_redemption(order_id)
    await shared_stack.wait_for_effects(order_id, STARTED)
    event = await shared_stack.wait_for_event(events_pb2.AccessCodeRedeemed, order_id)
    assert event.record == record
    (cached,) = await shared_stack.fetch_rows(
        "SELECT access_code_id, code, status, expire_at, version FROM interview.cached_codes"
        " WHERE order_id = $1",
        order_id,
    )
    expire_at = to_datetime(record.expire_at)
    assert tuple(cached) == (record.id, code, "REDEEMED", expire_at, record.version)
