"""Calls to other services: as ourselves, within the time that is left, as part of the trace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devstack.keys import Keys
from eventbus.trace_context import enter_trace
from runtime.auth.authentication import Caller, Role, TokenVerifier
from runtime.auth.keys import KeySet
from runtime.rpc.client import Peer, open_channel
from runtime.rpc.deadlines import DeadlineExceeded, deadline

TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


class RecordingHealth(health_pb2_grpc.HealthServicer):
    """Records the deadline and the metadata of each call."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.metadata: list[dict[str, Any]] = []

    async def Check(  # noqa: N802
        self, _request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        self.seconds.append(context.time_remaining())
        self.metadata.append(dict(context.invocation_metadata() or ()))
        return health_pb2.HealthCheckResponse()


@asynccontextmanager
async def listening(directory: Path) -> AsyncIterator[tuple[RecordingHealth, Any, Keys]]:
    """A server that records calls, and a stub that calls it as interview."""
    keys, server_side, server = Keys(directory), RecordingHealth(), grpc.aio.server()
    keys.prepare()
    health_pb2_grpc.add_HealthServicer_to_server(server_side, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    peer = Peer(f"127.0.0.1:{port}", "payment")
    try:
        async with open_channel(keys.private("interview"), peer) as channel:
            yield server_side, health_pb2_grpc.HealthStub(channel), keys
    finally:
        await server.stop(0)


async def test_a_call_takes_no_longer_than_what_is_left_of_the_call_that_makes_it(
    tmp_path: Path,
) -> None:
    request = health_pb2.HealthCheckRequest()
    async with listening(tmp_path) as (server_side, stub, _):
        async with deadline(5.0, 30.0):
            await stub.Check(request, timeout=60)
        async with deadline(None, 20.0):
            await stub.Check(request)
            await stub.Check(request, timeout=3)
    bounds = [5.0, 20.0, 3.0]
    assert [
        seconds < bound + 0.5 for seconds, bound in zip(server_side.seconds, bounds, strict=True)
    ] == [
        True,
        True,
        True,
    ]
    assert server_side.seconds[0] > 3.0


async def test_a_call_says_who_makes_it_and_to_which_trace_it_belongs(tmp_path: Path) -> None:
    async with listening(tmp_path) as (server_side, stub, keys):
        enter_trace(TRACE)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        [metadata] = server_side.metadata
        verifier = TokenVerifier(KeySet(keys.public), "payment")
        caller = verifier.verify(metadata["authorization"])
    assert caller == Caller("interview", frozenset({Role.SERVICE}))
    assert metadata["traceparent"][3:35] == TRACE[3:35]


async def test_work_without_a_callers_deadline_is_bounded_by_ours() -> None:
    with pytest.raises(DeadlineExceeded):
        async with deadline(None, 0.01):
            await asyncio.Event().wait()


async def test_a_time_out_of_something_else_is_not_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        async with deadline(None, 30.0):
            raise TimeoutError
