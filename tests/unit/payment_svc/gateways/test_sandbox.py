"""The gateway to the sandbox provider during an outage: the cause, and its end."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from payment_svc.domain.payments import ChargeNotFound, OutcomeUnknown
from payment_svc.domain.refunds import Refund, RefundOutcomeUnknown
from payment_svc.gateways import SandboxGateway
from runtime.metrics.registry import PREFIX, Metrics
from sandbox.v1 import provider_service_pb2_grpc
from tests.builders.payment import NOW, make_paid_order, make_payment

PAYMENT_ID = "pay_01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Provider(provider_service_pb2_grpc.ProviderServiceServicer):
    """Fails with `code`."""

    code = grpc.StatusCode.NOT_FOUND

    async def _fail(self, _request: Any, context: Any) -> None:
        await context.abort(self.code, "because of the test")

    GetCharge = CreateCharge = CancelCharge = CreateRefund = _fail  # type: ignore[assignment]


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def gateway(provider: Provider, metrics: Metrics) -> AsyncIterator[SandboxGateway]:
    server = grpc.aio.server()
    add: Any = provider_service_pb2_grpc.add_ProviderServiceServicer_to_server
    add(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield SandboxGateway(channel, ["secret"], 5.0, metrics)
    await server.stop(None)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"{PREFIX}_{name}", labels)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_an_unknown_outcome_carries_its_cause(
    gateway: SandboxGateway, provider: Provider, code: grpc.StatusCode
) -> None:
    provider.code = code
    cause = f"the provider replied {code.name}: because of the test"
    unknown = OutcomeUnknown(cause)
    assert await gateway.create_charge(make_payment()) == unknown
    assert await gateway.get_charge(PAYMENT_ID) == unknown
    assert await gateway.cancel_charge(PAYMENT_ID) == unknown
    refund = Refund.of_order("ref_1", make_paid_order(), None, "", NOW)
    assert await gateway.create_refund(refund) == RefundOutcomeUnknown(cause)
    assert gateway.current_error == cause


async def test_the_error_ends_with_the_next_reply(
    gateway: SandboxGateway, provider: Provider, metrics: Metrics
) -> None:
    """A charge that does not exist is a reply too."""
    provider.code = grpc.StatusCode.UNAVAILABLE
    await gateway.get_charge(PAYMENT_ID)
    assert gateway.current_error
    assert value(metrics, "payment_provider_failing") == 1
    provider.code = grpc.StatusCode.NOT_FOUND
    assert await gateway.get_charge(PAYMENT_ID) == ChargeNotFound()
    assert gateway.current_error == ""
    assert value(metrics, "payment_provider_failing") == 0
    for code in ("UNAVAILABLE", "NOT_FOUND"):
        name = "payment_provider_request_duration_seconds_count"
        assert value(metrics, name, method="GetCharge", code=code) == 1
