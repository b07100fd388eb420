"""The health of a service, as gRPC's health protocol reports it."""

from typing import cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devstack.polling import wait_until
from tests.system.drivers.running_stack import RunningStack


async def health_status(stack: RunningStack, service: str, name: str) -> str:
    """The status that a service reports for a name, such as "SERVING".

    "" is the process as a whole, "bus" its event bus; others are the names of its gRPC services.
    """
    async with grpc.aio.insecure_channel(stack.devstack.address(service)) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        reply = await check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    status = cast("health_pb2.HealthCheckResponse", reply).status
    return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


async def wait_for_health(stack: RunningStack, service: str, name: str, status: str) -> None:
    """Waits until a service reports a status for a name; it may not know the name yet."""

    async def is_reported() -> bool:
        try:
            return await health_status(stack, service, name) == status
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False

    await wait_until(is_reported, f"{service}'s health {name!r} {status}", 60)
