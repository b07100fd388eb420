"""The connections of channels: proxies, slow and vanished servers."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import runtime
from devstack.polling import wait_until
from devstack.supervision.probes import grpc_is_serving
from interview_svc.gateways.payment import SERVICE_CONFIG
from runtime.rpc import channel as rpc_channel
from runtime.rpc.channel import create_channel
from tests.fakes.dns_server import dns_server

CHECK = health_pb2.HealthCheckRequest()
PROXY_VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy")


class CountingHealth(health_pb2_grpc.HealthServicer):
    """Counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def Check(  # noqa: N802
        self, _request: health_pb2.HealthCheckRequest, _context: object
    ) -> health_pb2.HealthCheckResponse:
        self.calls += 1
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def serving(
    servicer: CountingHealth | None = None, listen: str = "127.0.0.1:0"
) -> AsyncIterator[str]:
    """The address of a server."""
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer or CountingHealth(), server)
    port = server.add_insecure_port(listen)
    await server.start()
    try:
        yield f"{listen.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(0)


class Relay:
    """A TCP server that passes bytes on to another one, as proxies do on the request CONNECT."""

    def __init__(self, target: str, *, is_proxy: bool = False) -> None:
        self.address, self.connections = "", 0
        self._host, _, self._port = target.rpartition(":")
        self._is_proxy = is_proxy
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._is_proxy:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(f"CONNECT {self._host}:{self._port} ".encode())
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        there = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, there[1]]
        for source, sink in ((reader, there[1]), (there[0], writer)):
            self._tasks.append(asyncio.create_task(_pass_on(source, sink)))

    def lose(self) -> None:
        """Passes nothing on from now on, and closes no connection, as if the target vanished.

        New connections work.
        """
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        self.lose()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
    sink.close()


@asynccontextmanager
async def relaying(relay: Relay) -> AsyncIterator[Relay]:
    async with await asyncio.start_server(relay.accept, "127.0.0.1", 0) as server:
        relay.address = "{}:{}".format(*server.sockets[0].getsockname())
        yield relay
        await relay.close()


async def check(channel: grpc.aio.Channel, seconds: float = 20) -> None:
    await health_pb2_grpc.HealthStub(channel).Check(CHECK, timeout=seconds)


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
async def test_a_proxy_in_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """By the calls of services, and by the probe of a stack."""
    for name in (*PROXY_VARIABLES, "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    async with serving() as address:
        async with create_channel(address) as channel:
            await check(channel)
        assert await grpc_is_serving(address)


async def test_a_proxy_for_addresses_in_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With and without a proxy of its own."""
    monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY", "127.0.0.1:1")
    monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES", "0.0.0.0/0,::/0")
    async with serving() as address, relaying(Relay(address, is_proxy=True)) as proxy:
        async with create_channel(address) as channel:
            await check(channel)
        async with create_channel(address, http_proxy=f"http://{proxy.address}") as channel:
            await check(channel)
        assert proxy.connections == 1
        assert await grpc_is_serving(address)


@pytest.mark.parametrize("variable", ["no_proxy", "no_grpc_proxy"])
async def test_exceptions_in_the_environment_do_not_bypass_the_proxy_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "127.0.0.1")
    importlib.reload(runtime)  # as a program that starts with this environment
    async with serving() as address, relaying(Relay(address, is_proxy=True)) as proxy:
        async with create_channel(address, http_proxy=f"http://{proxy.address}") as channel:
            await check(channel)
        assert proxy.connections == 1


async def test_a_proxy_is_used_if_it_is_asked_for() -> None:
    async with serving() as address, relaying(Relay(address, is_proxy=True)) as proxy:
        async with create_channel(address, http_proxy=f"http://{proxy.address}") as channel:
            await check(channel)
        assert proxy.connections == 1


async def test_a_slow_connection_is_awaited_until_the_deadline() -> None:
    """Then the status says that the server did not answer, not that it cannot be reached."""

    async def never_answer(_reader: object, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    address = "{}:{}".format(*server.sockets[0].getsockname())
    async with server, create_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await check(channel, seconds=1.5)
        assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_interview_uses_every_replica_of_payment() -> None:
    """And goes on with the others when one ends."""
    first, second = CountingHealth(), CountingHealth()
    async with serving(first) as one:
        async with serving(second) as two:
            channel = create_channel(f"ipv4:{one},{two}", service_config=SERVICE_CONFIG)

            async def both_are_called() -> bool:
                await check(channel)
                return bool(first.calls and second.calls)

            await wait_until(both_are_called, "calls of both replicas")
        calls = first.calls
        for _ in range(9):
            await check(channel)
        assert first.calls == calls + 9
        await channel.close()


async def test_replicas_that_were_replaced_at_other_addresses_are_found_by_their_name() -> None:
    """Long before 30 seconds have passed, gRPC's default between two resolutions of a name."""
    async with dns_server("127.0.0.1") as dns:
        async with serving() as old:
            port = old.rpartition(":")[2]
            channel = create_channel(f"dns://127.0.0.1:{dns.port}/payment.test:{port}")
            await check(channel)
        new = CountingHealth()
        async with serving(new, f"127.0.0.2:{port}"):
            dns.answer = "127.0.0.2"

            async def is_answered() -> bool:
                try:
                    await check(channel)
                except grpc.aio.AioRpcError:
                    return False
                return True

            await wait_until(is_answered, "a call at the new address", 15)
        assert new.calls == 1
        await channel.close()


async def test_a_connection_to_a_host_that_vanished_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing resets it: unanswered pings show that it is lost. Calls then succeed elsewhere."""
    options = {name: 500 for name, _ in rpc_channel._KEEPALIVE_OPTIONS}
    assert max(value for _, value in rpc_channel._KEEPALIVE_OPTIONS) <= 10_000
    monkeypatch.setattr(rpc_channel, "_KEEPALIVE_OPTIONS", [*options.items()])
    async with (
        serving() as address,
        relaying(Relay(address)) as relay,
        create_channel(relay.address) as channel,
    ):
        await check(channel)
        relay.lose()

        async def is_answered() -> bool:
            try:
                await check(channel, seconds=0.5)
            except grpc.aio.AioRpcError:
                return False
            return True

        await wait_until(is_answered, "a call on a new connection")
        assert relay.connections > 1
