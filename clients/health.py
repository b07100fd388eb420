"""A server's health by the gRPC health checking protocol."""

from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


async def serving_status(channel: grpc.aio.Channel, name: str = "", seconds: float = 5.0) -> str:
    """The name of the status, such as SERVING, of one gRPC service or of the whole server.

    Raises grpc.aio.AioRpcError: UNIMPLEMENTED by a server without health checks.
    """
    stub = health_pb2_grpc.HealthStub(channel)
    # The type stubs declare no methods of the health stub.
    check: Callable[..., Awaitable[health_pb2.HealthCheckResponse]] = stub.Check  # type: ignore[attr-defined]
    reply = await check(health_pb2.HealthCheckRequest(service=name), timeout=seconds)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
