"""Readiness probes. A probe returns False while the server is not ready, whatever the reason."""

import asyncio
import contextlib
from pathlib import Path

import grpc

from clients import open_channel, serving_status
from runtime.rpc.tls import CertificateUnreadable

_TIMEOUT_SECONDS = 2.0


async def grpc_is_serving(address: str, tls_roots: Path | None = None) -> bool:
    """True if the server's overall health is SERVING, or if it has no health service."""
    host, _, port = address.rpartition(":")
    if not await _accepts_connections(host, int(port)):
        return False
    try:
        async with open_channel(address, tls_roots=tls_roots, retry=False) as channel:
            return await serving_status(channel, seconds=_TIMEOUT_SECONDS) == "SERVING"
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNIMPLEMENTED
    except CertificateUnreadable:  # the server reports it when it exits
        return False


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
