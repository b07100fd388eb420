"""A bare grpc.aio server of ValidateAccessCode alone, for the peers."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from payment.v1 import access_code_service_pb2

_Request = access_code_service_pb2.ValidateAccessCodeRequest
_Response = access_code_service_pb2.ValidateAccessCodeResponse
Method = Callable[[_Request, Any], Awaitable[_Response]]


async def serve(address: str, method: Method) -> None:
    """Serves until the process is terminated."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        method,
        request_deserializer=_Request.FromString,
        response_serializer=_Response.SerializeToString,
    )
    service = access_code_service_pb2.DESCRIPTOR.services_by_name["AccessCodeService"]
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service.full_name, {"ValidateAccessCode": handler})]
    )
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()
