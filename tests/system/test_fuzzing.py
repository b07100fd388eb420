"""Random requests to every method: never UNKNOWN, never INTERNAL, and no row if refused.

About 20,000 requests; FUZZ_EXAMPLES=1000 (make fuzz) sends many more.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sandbox.v1.provider_service_pb2  # noqa: F401  registers the provider's methods
from clients import reason_of
from tests.system.drivers.request_generator import requests
from tests.system.drivers.running_stack import RunningStack

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))
CONCURRENCY = 20
SERVICES = [
    ("payment", "payment.v1.PaymentService"),
    ("payment", "payment.v1.AccessCodeService"),
    ("interview", "interview.v1.InterviewService"),
    ("notification", "notification.v1.NotificationService"),
    ("interview", "ops.v1.OpsService"),
    ("provider", "sandbox.v1.ProviderService"),
]
# Codes that no error of a contract has.
DEFECTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED}


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    for server, service in SERVICES:
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            yield server, method


def business_rows(stack: RunningStack) -> Mapping[str, int]:
    """Rows of every table except outbox and inbox, which events of earlier tests may change."""
    counts = asyncio.run(stack.row_counts())
    return {name: count for name, count in counts.items() if "box" not in name}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("server", "method"), list(methods()), ids=lambda value: getattr(value, "full_name", value)
)
def test_a_random_request_gets_a_reply_or_a_documented_error(
    shared_stack: RunningStack, server: str, method: MethodDescriptor
) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = [("authorization", f"Bearer {shared_stack.token_for(path)}")]
    before = business_rows(shared_stack)
    accepted = 0

    with grpc.insecure_channel(shared_stack.devstack.address(server)) as channel:
        call = channel.unary_unary(path)

        @settings(
            max_examples=EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(requests(method.input_type), min_size=CONCURRENCY, max_size=CONCURRENCY))
        def send(bodies: Sequence[bytes]) -> None:
            nonlocal accepted
            calls = [call.future(body, metadata=metadata, timeout=30) for body in bodies]
            for body, pending in zip(bodies, calls, strict=True):
                error = pending.exception()
                if error is None:
                    accepted += 1
                    continue
                assert error.code() not in DEFECTS, (body, error.code(), error.details())
                assert reason_of(error), (body, error.code(), error.details())

        send()
    if not accepted:
        assert business_rows(shared_stack) == before
