"""Readiness probes. A probe returns False while the server is not ready, whatever the reason."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_SECONDS = 2.0


async def grpc_is_serving(address: str) -> bool:
    """True if the server's overall health is SERVING, or if it has no health service."""
    host, _, port = address.rpartition(":")
    if not await _accepts_connections(host, int(port)):
        return False
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            response = await _check_health(channel)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED
    return response.status == health_pb2.HealthCheckResponse.SERVING


async def _check_health(channel: grpc.aio.Channel) -> health_pb2.HealthCheckResponse:
    stub = health_pb2_grpc.HealthStub(channel)
    # The type stubs do not declare the methods of the asyncio stub.
    check: Callable[..., Awaitable[health_pb2.HealthCheckResponse]] = stub.Check  # type: ignore[attr-defined]
    return await check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)


async def smtp_is_greeting(host: str, port: int) -> bool:
    """True if the server sends the greeting of an SMTP server."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            greeting = await reader.readline()
            await _close(writer)
    except (OSError, TimeoutError):
        return False
    return greeting.startswith(b"220")


async def _accepts_connections(host: str, port: int) -> bool:
    """A cheap check before gRPC, whose channel backs off for long after a refused connection."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
            await _close(writer)
    except (OSError, TimeoutError):
        return False
    return True


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
