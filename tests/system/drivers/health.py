"""The health of a service, as gRPC's health protocol reports it."""

import grpc

from clients import serving_status
from devstack.polling import wait_until
from tests.system.drivers.running_stack import RunningStack


async def health_status(stack: RunningStack, service: str, name: str) -> str:
    """The status that a service reports for a name, such as "SERVING".

    "" is the process as a whole, "bus" its event bus; others are the names of its gRPC services.
    """
    async with grpc.aio.insecure_channel(stack.devstack.address(service)) as channel:
        return await serving_status(channel, name)


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
