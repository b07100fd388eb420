"""What a call carries, when it is repeated, and how it fails: against a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest

from clients import CallFailed, Clients, Service, connect, open_channel, serving_status
from clients.channel import SERVICE_CONFIG
from devstack.commands import PROJECT
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2, payment_service_pb2_grpc
from runtime.rpc.errors import ErrorMapper, TooManyCalls
from runtime.rpc.failed_attempt_limit import TOO_MANY_FAILED_ATTEMPTS, TooManyFailedAttempts

PRODUCTS = payment_service_pb2.ListProductsRequest()
ERRORS = ErrorMapper({TooManyFailedAttempts: TOO_MANY_FAILED_ATTEMPTS})


@dataclass
class Payments(payment_service_pb2_grpc.PaymentServiceServicer):
    """Fails with each of these codes or errors, one per call, then answers; records the calls."""

    failures: Sequence[grpc.StatusCode | Exception] = ()
    calls: list[dict[str, Any]] = field(default_factory=list)

    async def ListProducts(  # noqa: N802
        self, _request: payment_service_pb2.ListProductsRequest, context: Any
    ) -> payment_service_pb2.ListProductsResponse:
        number = len(self.calls)
        metadata = dict(context.invocation_metadata())
        self.calls.append({"seconds": context.time_remaining(), **metadata})
        if number < len(self.failures):
            failure = self.failures[number]
            if isinstance(failure, Exception):
                await context.abort_with_status(ERRORS.status(failure, "payment.v1"))
            await context.abort(failure, "as asked")
        return payment_service_pb2.ListProductsResponse()


@asynccontextmanager
async def serving(payments: Payments) -> AsyncIterator[str]:
    """The address of a server without TLS."""
    server = grpc.aio.server()
    payment_service_pb2_grpc.add_PaymentServiceServicer_to_server(payments, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def payment_at(address: str, **options: Any) -> Clients:
    return connect({Service.PAYMENT: address}, **options)


async def test_a_call_carries_the_token_and_the_default_deadline() -> None:
    payments = Payments()
    async with (
        serving(payments) as address,
        payment_at(address, token="a.b.c", timeout=700) as clients,
    ):
        await clients.payments.ListProducts(PRODUCTS)
    [call] = payments.calls
    assert call["authorization"] == "Bearer a.b.c"
    # gRPC rounds a deadline up when it sends it.
    assert 600 < call["seconds"] < 750


async def test_a_calls_own_deadline_and_metadata_are_kept() -> None:
    payments = Payments()
    async with serving(payments) as address, payment_at(address, token="t") as clients:
        await clients.payments.ListProducts(
            PRODUCTS, timeout=60, metadata=(("accept-language", "zh-CN"),)
        )
    [call] = payments.calls
    assert (call["accept-language"], call["authorization"]) == ("zh-CN", "Bearer t")
    assert call["seconds"] > 50


async def test_without_a_token_no_authorization_is_sent() -> None:
    payments = Payments()
    async with serving(payments) as address, payment_at(address) as clients:
        await clients.payments.ListProducts(PRODUCTS)
    assert "authorization" not in payments.calls[0]


RETRIED = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
)


async def test_a_call_is_retried_while_the_service_refuses_it() -> None:
    payments = Payments([*RETRIED, grpc.StatusCode.UNAVAILABLE])
    async with serving(payments) as address, payment_at(address) as clients:
        await clients.payments.ListProducts(PRODUCTS)
    assert len(payments.calls) == 5


async def test_retries_end_after_five_attempts() -> None:
    payments = Payments([grpc.StatusCode.UNAVAILABLE] * 9)
    async with serving(payments) as address, payment_at(address) as clients:
        with pytest.raises(CallFailed) as failed:
            await clients.payments.ListProducts(PRODUCTS)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(payments.calls) == 5


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, *RETRIED)],
    ids=lambda code: code.name,
)
async def test_no_other_status_is_retried(code: grpc.StatusCode) -> None:
    payments = Payments([code])
    async with serving(payments) as address, payment_at(address) as clients:
        with pytest.raises(CallFailed) as failed:
            await clients.payments.ListProducts(PRODUCTS)
    assert (failed.value.code(), len(payments.calls)) == (code, 1)


async def test_a_refusal_for_a_minute_reaches_the_caller_at_once() -> None:
    payments = Payments([TooManyFailedAttempts()])
    async with serving(payments) as address, payment_at(address) as clients:
        with pytest.raises(CallFailed) as failed:
            await clients.payments.ListProducts(PRODUCTS)
    assert len(payments.calls) == 1
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failed.value.retry_delay == timedelta(minutes=1)


async def test_a_call_refused_for_overload_is_not_retried_before_the_delay_of_the_service() -> None:
    """A second at least: here, the deadline comes first."""
    payments = Payments([TooManyCalls()])
    async with serving(payments) as address, payment_at(address) as clients:
        with pytest.raises(CallFailed) as failed:
            await clients.payments.ListProducts(PRODUCTS, timeout=0.9)
    assert len(payments.calls) == 1
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_calls_are_balanced_between_the_addresses_of_a_target() -> None:
    first, second = Payments(), Payments()
    async with (
        serving(first) as one,
        serving(second) as two,
        payment_at(f"ipv4:{one},{two}") as clients,
    ):

        async def both_are_called() -> bool:
            await clients.payments.ListProducts(PRODUCTS)
            return bool(first.calls and second.calls)

        await wait_until(both_are_called, "calls of both replicas")


async def test_the_documentation_gives_other_clients_the_same_service_config() -> None:
    documented = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    assert f"```json\n{SERVICE_CONFIG}\n```" in documented


async def test_retries_can_be_switched_off() -> None:
    payments = Payments([grpc.StatusCode.UNAVAILABLE])
    async with serving(payments) as address, payment_at(address, retry=False) as clients:
        with pytest.raises(CallFailed):
            await clients.payments.ListProducts(PRODUCTS)
    assert len(payments.calls) == 1


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    payments = Payments()
    async with serving(payments) as address, payment_at(address) as clients:
        await clients.payments.ListProducts(PRODUCTS)
    assert len(payments.calls) == 1


async def test_a_failed_call_can_be_caught_as_an_error_of_grpc() -> None:
    payments = Payments([grpc.StatusCode.NOT_FOUND])
    async with serving(payments) as address, payment_at(address) as clients:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await clients.payments.ListProducts(PRODUCTS)
    assert (failed.value.code(), failed.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "as asked",
    )


async def test_a_server_that_cannot_be_reached_is_named_with_its_address() -> None:
    async with payment_at("127.0.0.1:1") as clients:
        with pytest.raises(CallFailed, match=r"^payment at 127\.0\.0\.1:1 is unreachable: "):
            await clients.payments.ListProducts(PRODUCTS)


@asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of a server that accepts connections and never answers; set when it did."""
    connected, closing = asyncio.Event(), asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await closing.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}", connected
        closing.set()


async def test_a_server_that_does_not_answer_is_named_with_its_address_and_the_deadline() -> None:
    """A slow connection is not given up before the deadline, and so not taken as unreachable."""
    async with mute_server() as (address, _), payment_at(address, retry=False) as clients:
        with pytest.raises(CallFailed) as failed:
            await clients.payments.ListProducts(PRODUCTS, timeout=1.5)
    assert str(failed.value) == f"payment at {address} did not answer within 1.5 s"
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_cancelled_call_is_cancelled_and_not_failed() -> None:
    async with mute_server() as (address, connected), payment_at(address) as clients:

        async def call() -> None:
            await clients.payments.ListProducts(PRODUCTS)

        task = asyncio.create_task(call())
        await asyncio.wait_for(connected.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_server_without_health_checks_says_so() -> None:
    async with serving(Payments()) as address, open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await serving_status(channel)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
