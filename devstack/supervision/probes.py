"""Asking a server whether it is ready. A probe answers False for every kind of not yet."""

import asyncio
import contextlib

import grpc

from clients import serving_status

_LIMIT = 2.0


async def grpc_is_serving(address: str) -> bool:
    """True if the server's overall health is SERVING, or it has none to tell."""
    host, _, port = address.rpartition(":")
    if not await _accepts(host, int(port)):
        return False
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            return await serving_status(channel, seconds=_LIMIT) == "SERVING"
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED


async def smtp_is_greeting(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_LIMIT):
            reader, writer = await asyncio.open_connection(host, port)
            greeting = await reader.readline()
            await _hang_up(writer)
    except (OSError, TimeoutError):
        return False
    return greeting.startswith(b"220")


async def _accepts(host: str, port: int) -> bool:
    """A cheap look first: a gRPC channel that was refused waits long before it tries again."""
    try:
        async with asyncio.timeout(_LIMIT):
            _, writer = await asyncio.open_connection(host, port)
            await _hang_up(writer)
    except (OSError, TimeoutError):
        return False
    return True


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
