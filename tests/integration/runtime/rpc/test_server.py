"""The limits of a server, which a client without a token cannot exhaust."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from clients import error_details, reason_of
from devstack.keys import Keys
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2, payment_service_pb2_grpc
from runtime.auth.authentication import Role
from runtime.database.engine import create_engine
from runtime.metrics.calls import CallMetrics
from runtime.metrics.registry import Metrics
from runtime.rpc import concurrency_limits
from runtime.rpc import server as rpc_server
from runtime.rpc.errors import ErrorMapper
from runtime.rpc.health import HealthMonitor
from runtime.rpc.health_servicer import HealthServicer
from runtime.rpc.reflection import V1_ALPHA
from runtime.rpc.server import CallLimits, GrpcServer, ServiceRegistration, server_options
from runtime.settings import ServiceSettings
from tests.builders.tokens import ISSUER
from tests.fakes.jwks_server import JwksServer
from tests.integration.drivers import http2

MOST = 5
_QUEUE = dict(rpc_server._OPTIONS)["grpc.server.max_pending_requests_hard_limit"]
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CHECK = health_pb2.HealthCheckRequest()
PRODUCTS = payment_service_pb2.ListProductsRequest()


class Shop(payment_service_pb2_grpc.PaymentServiceServicer):
    """Replies once it is released."""

    def __init__(self) -> None:
        self.open, self.waiting = asyncio.Event(), 0
        self.is_blocked, self.unblock = threading.Event(), threading.Event()
        self.unblock.set()
        self.peers: set[str] = set()

    async def ListProducts(  # noqa: N802
        self, _request: payment_service_pb2.ListProductsRequest, context: Any
    ) -> payment_service_pb2.ListProductsResponse:
        self.is_blocked.set()
        self.unblock.wait(60)  # the whole event loop, as a server that is too busy
        self.waiting += 1
        self.peers.add(context.peer())
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        return payment_service_pb2.ListProductsResponse()


@dataclass
class Listening:
    """A server of one servicer, and channels to it."""

    ports: list[int]
    health: HealthMonitor
    shop: Shop
    keys: Keys
    token: str
    metrics: Metrics
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.ports[0]

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options))
        return self.channels[-1]

    def products(self, channel: grpc.aio.Channel) -> Any:
        """An authorized call."""
        stub = payment_service_pb2_grpc.PaymentServiceStub(channel)
        return stub.ListProducts(
            PRODUCTS, metadata=(("authorization", f"Bearer {self.token}"),), timeout=30
        )

    async def until_waiting(self, number: int) -> None:
        async def look() -> bool:
            return self.shop.waiting == number

        await wait_until(look, f"{number} calls in hand")


@asynccontextmanager
async def listening(directory: Path, **settings: Any) -> AsyncIterator[Listening]:
    keys, shop = Keys(directory), Shop()
    keys.prepare()
    config = ServiceSettings(
        auth_keys=keys.public,
        auth_signing_key=keys.private("payment"),
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/nothing",
        nats_url="nats://127.0.0.1:1",
        nats_user="payment",
        nats_password="secret",
        listen="127.0.0.1:0",
        # One caller may have as many calls as are free.
        **{"max_concurrent_calls": 2 * MOST, **settings},
    )
    engine = create_engine(config, "payment")
    health = HealthMonitor(engine, config.create_broker("payment"), [])
    register: Any = payment_service_pb2_grpc.add_PaymentServiceServicer_to_server
    servicer = ServiceRegistration("payment.v1.PaymentService", register, shop)
    metrics = Metrics()
    calls = CallMetrics(metrics)
    server = GrpcServer(config, "payment", [servicer], ErrorMapper({}), health, calls)
    token = keys.token("shop", Role.STOREFRONT)
    here = Listening(await server.start(), health, shop, keys, token, metrics)
    try:
        yield here
    finally:
        for channel in here.channels:
            await channel.close()
        await server.stop(0)
        await engine.dispose()


def watch(channel: grpc.aio.Channel, name: str = "") -> Any:
    request = health_pb2.HealthCheckRequest(service=name)
    return health_pb2_grpc.HealthStub(channel).Watch(request, timeout=30)


async def reflected(
    channel: grpc.aio.Channel, service: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    """The answer of reflection under one of its names."""
    method = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    [reply] = [reply async for reply in method(iter([request]), timeout=10)]
    return reply


async def services_shown(channel: grpc.aio.Channel, service: str = V1_ALPHA) -> list[str]:
    request = reflection_pb2.ServerReflectionRequest(list_services="*")
    reply = await reflected(channel, service, request)
    return [each.name for each in reply.list_services_response.service]


async def files_shown(
    channel: grpc.aio.Channel, service: str, symbol: str
) -> list[descriptor_pb2.FileDescriptorProto]:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    reply = await reflected(channel, service, request)
    files = reply.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]


async def test_streams_without_a_token_do_not_use_up_the_capacity(tmp_path: Path) -> None:
    """However many of them are open: calls are answered, probes and reflection too."""
    async with listening(tmp_path) as here:
        crowded = here.channel()
        watching = [watch(crowded) for _ in range(10 * MOST)]
        first = await asyncio.gather(*(call.read() for call in watching), return_exceptions=True)
        here.shop.open.set()
        for channel in (crowded, here.channel()):
            assert await health_pb2_grpc.HealthStub(channel).Check(CHECK, timeout=10)
            assert await here.products(channel) == payment_service_pb2.ListProductsResponse()
            assert "payment.v1.PaymentService" in await services_shown(channel)
        assert isinstance(first[0], health_pb2.HealthCheckResponse)


async def test_streams_without_a_token_are_bounded_in_number_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one address; each ends in time, and leaves its place to another."""
    bounds = concurrency_limits.StreamLimits(total=9, per_network=2, seconds=1)
    monkeypatch.setattr(concurrency_limits, "_WATCH_LIMITS", bounds)
    async with listening(tmp_path) as here:
        kept = [watch(here.channel()) for _ in range(2)]
        for call in kept:
            assert isinstance(await call.read(), health_pb2.HealthCheckResponse)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await watch(here.channel()).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _reason_and_pause(refused.value) == ("TOO_MANY_STREAMS", True)
        for call in kept:
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        again = watch(here.channel())
        assert isinstance(await again.read(), health_pb2.HealthCheckResponse)
        again.cancel()


async def test_calls_beyond_the_limit_get_a_retry_delay(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED with RetryInfo for who may call; who may not counts for nothing."""
    async with listening(tmp_path) as here:
        channel = here.channel()
        calls = [asyncio.ensure_future(_reply(here.products(channel))) for _ in range(MOST)]
        await here.until_waiting(MOST)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await here.products(channel)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _reason_and_pause(refused.value) == ("TOO_MANY_CALLS", True)
        stub = payment_service_pb2_grpc.PaymentServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.ListProducts(PRODUCTS, timeout=10)
        assert unknown.value.code() is grpc.StatusCode.UNAUTHENTICATED
        here.shop.open.set()
        await asyncio.gather(*calls)
        assert await here.products(channel) == payment_service_pb2.ListProductsResponse()


async def test_a_cancelled_call_frees_its_slot(tmp_path: Path) -> None:
    async with listening(tmp_path) as here:
        channel = here.channel()
        calls = [here.products(channel) for _ in range(MOST)]
        await here.until_waiting(MOST)
        for call in calls:
            call.cancel()
        await here.until_waiting(0)
        here.shop.open.set()
        assert await here.products(channel) == payment_service_pb2.ListProductsResponse()


async def test_a_caller_leaves_room_for_others(tmp_path: Path) -> None:
    async with listening(tmp_path) as here:
        channel = here.channel()
        calls = [asyncio.ensure_future(_reply(here.products(channel))) for _ in range(2 * MOST)]
        await here.until_waiting(MOST)
        here.token = here.keys.token("another shop", Role.STOREFRONT)
        calls.append(asyncio.ensure_future(_reply(here.products(channel))))
        await here.until_waiting(MOST + 1)
        here.shop.open.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(reply, BaseException) for reply in found) == MOST


async def test_an_overloaded_server_refuses_calls_beyond_its_queue(tmp_path: Path) -> None:
    """At once, and only those of the same address: probes and internal calls wait their turn."""
    async with listening(
        tmp_path, internal_listen="127.0.0.1:0", max_concurrent_calls=5000
    ) as here:
        here.shop.open.set()
        here.shop.unblock.clear()
        try:
            refused, others = await asyncio.to_thread(_overload, here)
        finally:
            here.shop.unblock.set()
    assert refused <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert others == [grpc.StatusCode.OK] * 2


def _overload(here: Listening) -> tuple[set[grpc.StatusCode], list[grpc.StatusCode]]:
    """How a blocked server refuses calls, and the outcome of a probe and of an internal call."""
    with (
        grpc.insecure_channel(f"127.0.0.1:{here.ports[0]}") as public,
        grpc.insecure_channel(f"127.0.0.1:{here.ports[1]}") as internal,
    ):
        metadata = (("authorization", f"Bearer {here.token}"),)
        products: Any = payment_service_pb2_grpc.PaymentServiceStub(public).ListProducts
        calls = [products.future(PRODUCTS, metadata=metadata, timeout=60)]
        here.shop.is_blocked.wait(30)
        ended = threading.Semaphore(0)
        for _ in range(10 * _QUEUE):
            call = products.future(PRODUCTS, metadata=metadata, timeout=60)
            call.add_done_callback(lambda _: ended.release())
            calls.append(call)
        for _ in range(8 * _QUEUE):
            assert ended.acquire(timeout=30)
        refused = {call.code() for call in calls if call.done()}
        probe: Any = health_pb2_grpc.HealthStub(public).Check
        inside: Any = payment_service_pb2_grpc.PaymentServiceStub(internal).ListProducts
        others = [
            probe.future(CHECK, timeout=60),
            inside.future(PRODUCTS, metadata=metadata, timeout=60),
        ]
        here.shop.unblock.set()
        return refused, [call.code() for call in others]


async def _reply(call: Any) -> Any:
    return await call


def _reason_and_pause(error: grpc.aio.AioRpcError) -> tuple[str, bool]:
    """The reason, and whether there is a retry delay."""
    info, pause, paused = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), False
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        detail.Unpack(info)
        paused = paused or (detail.Unpack(pause) and bool(pause.retry_delay.ToMilliseconds()))
    return info.reason, paused


async def test_a_watcher_receives_every_change_until_the_end(tmp_path: Path) -> None:
    """At the end it is let go, so that it doesn't hold up the stop."""
    async with listening(tmp_path) as here:
        watching, unknown = watch(here.channel()), watch(here.channel(), "nobody's")
        assert (await watching.read()).status == NOT_SERVING
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        here.health.servicer.set("", serving=True)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        here.health.shut_down()
        assert (await watching.read()).status == NOT_SERVING
        for call in (watching, unknown):
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK


async def test_the_health_of_an_unknown_name_is_not_found(tmp_path: Path) -> None:
    async with listening(tmp_path) as here:
        request = health_pb2.HealthCheckRequest(service="nobody's")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health_pb2_grpc.HealthStub(here.channel()).Check(request, timeout=10)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_that_reads_nothing_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window is empty, so that what is written to it never leaves; health goes on."""
    served, begun = HealthServicer.Watch, asyncio.Event()

    async def noted(*call: Any) -> None:
        begun.set()
        await served(*call)

    monkeypatch.setattr(HealthServicer, "Watch", noted)
    async with listening(tmp_path) as here:
        mute = await http2.Connection.open(here.port, {http2.INITIAL_WINDOW_SIZE: 0})
        mute.writer.write(http2.call("/grpc.health.v1.Health/Watch"))
        async with asyncio.timeout(10):
            await begun.wait()
        watching = watch(here.channel())
        assert (await watching.read()).status == NOT_SERVING
        here.health.servicer.set("", serving=True)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        mute.close()


def change_option(patch: pytest.MonkeyPatch, name: str, value: int) -> None:
    """Changes the value of an option that servers have."""
    assert name in dict(rpc_server._OPTIONS)
    patch.setattr(rpc_server, "_OPTIONS", [*{**dict(rpc_server._OPTIONS), name: value}.items()])


async def test_an_idle_client_may_ping_as_often_as_the_option_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pings at a shorter interval end the connection; without an interval none does."""
    name = "grpc.http2.min_ping_interval_without_data_ms"
    assert dict(rpc_server._OPTIONS)[name] <= 10_000
    async with listening(tmp_path) as here:
        connection = await http2.Connection.open(here.port)
        assert await connection.ping(99) < 9
        connection.close()
    change_option(monkeypatch, name, 0)
    async with listening(tmp_path) as here:
        connection = await http2.Connection.open(here.port)
        assert await connection.ping(99) == 99
        connection.close()


async def test_a_connection_has_a_limited_number_of_streams(tmp_path: Path) -> None:
    """A client that reads nothing cannot make the server keep any number of replies."""
    async with listening(tmp_path) as here:
        connection = await http2.Connection.open(here.port)
        assert MOST < connection.server_settings[http2.MAX_CONCURRENT_STREAMS] <= 2 * MOST + 100
        connection.close()


async def test_a_call_may_carry_a_large_token(tmp_path: Path) -> None:
    """Those of identity providers name all groups of a person. None is refused at random."""
    metadata = (("authorization", "x" * 15_000),)
    async with listening(tmp_path) as here:
        health = health_pb2_grpc.HealthStub(here.channel())
        for _ in range(20):
            await health.Check(CHECK, metadata=metadata, timeout=10)


async def test_an_old_connection_finishes_its_calls_and_new_calls_get_a_new_one(
    tmp_path: Path,
) -> None:
    """So clients find new replicas, and no call is lost by it."""
    async with listening(tmp_path, max_connection_age_seconds=1) as here:
        channel = here.channel()
        pending = asyncio.ensure_future(_reply(here.products(channel)))
        await here.until_waiting(1)
        [first] = here.shop.peers

        async def calls_on_a_new_connection() -> bool:
            call = here.products(channel)
            await here.until_waiting(2)
            call.cancel()
            await here.until_waiting(1)
            return here.shop.peers != {first}

        await wait_until(calls_on_a_new_connection, "a new connection")
        here.shop.open.set()
        assert await pending == payment_service_pb2.ListProductsResponse()


def test_an_old_connection_is_kept_as_long_as_a_call_may_take() -> None:
    options = dict(server_options(CallLimits(seconds=600)))
    assert options["grpc.max_connection_age_grace_ms"] > 600_000


async def test_calls_are_counted_by_method_code_and_reason(tmp_path: Path) -> None:
    method = "payment.v1.PaymentService/ListProducts"

    def count(code: str, reason: str) -> float:
        labels = {"method": method, "code": code, "reason": reason}
        return here.metrics.registry.get_sample_value("mockinterview_calls_total", labels) or 0

    def value(name: str, **labels: str) -> float | None:
        return here.metrics.registry.get_sample_value(f"mockinterview_{name}", labels)

    async with listening(tmp_path) as here:
        channel = here.channel()
        pending = asyncio.ensure_future(_reply(here.products(channel)))
        await here.until_waiting(1)
        assert value("calls_in_progress") == 1
        here.shop.open.set()
        await pending
        assert count("OK", "") == 1
        here.token = "none"
        with pytest.raises(grpc.aio.AioRpcError):
            await here.products(channel)
        assert count("UNAUTHENTICATED", "TOKEN_INVALID") == 1
        await health_pb2_grpc.HealthStub(channel).Check(CHECK, timeout=10)
        assert value("calls_in_progress") == 0
        assert value("call_duration_seconds_count", method=method) == 2


async def test_a_cancelled_call_is_counted_too(tmp_path: Path) -> None:
    async with listening(tmp_path) as here:
        call = here.products(here.channel())
        await here.until_waiting(1)
        call.cancel()
        await here.until_waiting(0)

        async def counted() -> bool:
            labels = {
                "method": "payment.v1.PaymentService/ListProducts",
                "code": "CANCELLED",
                "reason": "",
            }
            found = here.metrics.registry.get_sample_value("mockinterview_calls_total", labels)
            return found == 1

        await wait_until(counted, "the count of the call")
        assert here.metrics.registry.get_sample_value("mockinterview_calls_in_progress") == 0


async def test_reflection_answers_under_both_of_its_names(tmp_path: Path) -> None:
    """And describes itself, as clients that list the methods of all services need."""
    async with listening(tmp_path) as here:
        for version in ("v1", "v1alpha"):
            name = f"grpc.reflection.{version}.ServerReflection"
            assert "payment.v1.PaymentService" in await services_shown(here.channel(), name)
            assert name in await services_shown(here.channel(), name)
            [file] = await files_shown(here.channel(), name, name)
            assert (file.package, file.service[0].name) == (
                f"grpc.reflection.{version}",
                "ServerReflection",
            )
            assert file.service[0].method[0].input_type.startswith(f".grpc.reflection.{version}.")


async def test_reflection_finds_the_file_of_every_kind_of_name(tmp_path: Path) -> None:
    """As `grpcurl describe` asks; a name that does not exist has no file."""
    async with listening(tmp_path) as here:
        for version in ("v1", "v1alpha"):
            name = f"grpc.reflection.{version}.ServerReflection"
            for symbol in (
                "payment.v1.PaymentService",
                "payment.v1.PaymentService.CreateOrder",
                "payment.v1.CreateOrderRequest",
            ):
                files = await files_shown(here.channel(), name, symbol)
                assert "payment/v1/payment_service.proto" in [file.name for file in files], symbol
            for symbol in ("payment.v1.PaymentService.Unknown", "payment.v1.Unknown.CreateOrder"):
                assert await files_shown(here.channel(), name, symbol) == []


async def test_health_lists_every_name(tmp_path: Path) -> None:
    async with listening(tmp_path) as here:
        call = here.channel().unary_unary(
            "/grpc.health.v1.Health/List",
            response_deserializer=health_pb2.HealthListResponse.FromString,
        )
        statuses = {name: each.status for name, each in (await call(b"")).statuses.items()}
        assert statuses == {
            "": NOT_SERVING,
            "bus": NOT_SERVING,
            "payment.v1.PaymentService": NOT_SERVING,
            "liveness": health_pb2.HealthCheckResponse.SERVING,
        }


async def test_liveness_does_not_follow_the_database_and_lasts_until_the_calls_have_ended(
    tmp_path: Path,
) -> None:
    """A probe of liveness restarts no process that waits for its database, or that is stopping."""
    liveness = health_pb2.HealthCheckRequest(service="liveness")
    async with listening(tmp_path) as here:
        health = health_pb2_grpc.HealthStub(here.channel())
        here.health.shut_down()
        assert (await health.Check(CHECK, timeout=10)).status == NOT_SERVING
        reply = await health.Check(liveness, timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_token_of_an_identity_provider_opens_the_methods_of_its_roles(
    tmp_path: Path,
) -> None:
    """Its keys are fetched by HTTP; while they cannot be, the call can be repeated later."""
    provider = JwksServer()
    issuer = {"issuer": ISSUER, "jwks": provider.url, "roles": ["storefront"]}
    try:
        async with listening(tmp_path, auth_issuers=json.dumps([issuer])) as here:
            here.shop.open.set()
            here.token = provider.issuer.token(roles=["storefront"])
            reply = await here.products(here.channel())
            assert reply == payment_service_pb2.ListProductsResponse()
            here.token = provider.issuer.token(roles=["operator"])
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await here.products(here.channel())
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    finally:
        provider.close()
    async with listening(tmp_path, auth_issuers=json.dumps([issuer])) as here:
        here.token = provider.issuer.token(roles=["storefront"])
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await here.products(here.channel())
        assert unknown.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(unknown.value) == "KEYS_UNAVAILABLE"
        assert error_details(unknown.value, error_details_pb2.RetryInfo)
