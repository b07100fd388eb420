"""Which errors of payment are an outage, in which the local cache decides."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog
from grpc.aio import AioRpcError, Metadata

from interview_svc.domain.cached_code import CachedCode
from interview_svc.domain.errors import CodeNotFound
from interview_svc.domain.events import ValidationSource
from interview_svc.gateways.circuit_breaker import CircuitBreaker
from interview_svc.gateways.payment import PaymentAccessCodes
from interview_svc.use_cases.code_validation import (
    PaymentIdentityRefused,
    PaymentQueryFailed,
    PaymentUnavailable,
    PaymentUnreachable,
    Validation,
)
from interview_svc.workflows.code_validation import CodeValidation, PreviewCache
from payment.v1 import access_code_service_pb2
from runtime.metrics.registry import Metrics
from runtime.rpc.deadlines import DeadlineExceeded, deadline
from tests.builders.interview import HOLDER, code_record
from tests.fakes.database import InMemoryDatabase
from tests.fakes.interview import InMemoryUnitOfWork

_Code = grpc.StatusCode
OUTAGE = (
    _Code.UNAVAILABLE,
    _Code.DEADLINE_EXCEEDED,
    _Code.RESOURCE_EXHAUSTED,
    _Code.CANCELLED,
)
IDENTITY_REFUSED = (_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED)
ERRORS = [code for code in _Code if code is not _Code.OK]
METRIC = "mockinterview_payment_identity_refused"
RECORD = code_record(expire_at=code_record().expire_at + timedelta(days=36500))


class FakePayment:
    """A channel to a payment that answers every call with a status; OK says: no such code."""

    def __init__(self, status: grpc.StatusCode) -> None:
        self.status, self.calls = status, 0

    def unary_unary(self, *_: Any, **__: Any) -> Callable[..., Any]:
        async def call(_request: Any, **_options: Any) -> Any:
            self.calls += 1
            if self.status is not _Code.OK:
                raise AioRpcError(self.status, Metadata(), Metadata(), "details")
            return access_code_service_pb2.ValidateAccessCodeResponse()

        return call


class AlwaysFresh:
    """The local cache is always fresh."""

    async def is_fresh(self, _order_id: str, _max_staleness: timedelta) -> bool:
        return True


def gateway(payment: FakePayment, metrics: Metrics, failures: int = 1000) -> PaymentAccessCodes:
    channel: Any = payment
    return PaymentAccessCodes(channel, 1.0, CircuitBreaker(failures, 60.0), metrics)


async def code_validation(
    codes: PaymentAccessCodes, metrics: Metrics | None = None
) -> CodeValidation:
    """With one ACTIVE code in a fresh local cache."""
    uow: Any = InMemoryUnitOfWork()
    uow.freshness = AlwaysFresh()
    await uow.cached_codes.add_many([CachedCode(RECORD, HOLDER)])
    database: Any = InMemoryDatabase(uow)
    previews = PreviewCache(5.0)
    return CodeValidation(database, codes, previews, timedelta(hours=1), metrics or Metrics())


@pytest.mark.parametrize(
    ("status", "source", "result"),
    [
        (_Code.OK, "PAYMENT", "NOT_FOUND"),
        (_Code.UNAVAILABLE, "LOCAL_CACHE", "VALID"),
        (_Code.INTERNAL, "PAYMENT", "UNAVAILABLE"),
    ],
)
async def test_validations_are_counted_by_who_decided(
    status: grpc.StatusCode, source: str, result: str
) -> None:
    metrics = Metrics()
    validation = await code_validation(gateway(FakePayment(status), metrics), metrics)
    with suppress(CodeNotFound, PaymentUnavailable):
        await validation.validate(RECORD.code)
    labels = {"source": source, "result": result}
    name = "mockinterview_code_validations_total"
    assert metrics.registry.get_sample_value(name, labels) == 1


async def test_an_open_circuit_is_exported() -> None:
    metrics = Metrics()
    codes = gateway(FakePayment(_Code.UNAVAILABLE), metrics, failures=1)
    name = "mockinterview_payment_circuit_open"
    assert metrics.registry.get_sample_value(name) == 0
    with pytest.raises(PaymentUnreachable):
        await codes.validate(RECORD.code)
    assert metrics.registry.get_sample_value(name) == 1


@pytest.mark.parametrize("status", ERRORS)
async def test_the_local_cache_decides_in_an_outage_and_after_no_other_error(
    status: grpc.StatusCode,
) -> None:
    """Every status code of gRPC: an argument error or a defect of payment is no outage."""
    validation = await code_validation(gateway(FakePayment(status), Metrics()))
    if status in OUTAGE + IDENTITY_REFUSED:
        decided = await validation.validate(RECORD.code)
        assert decided == Validation(
            decided.reason, RECORD, validated_by=ValidationSource.LOCAL_CACHE
        )
        return
    with pytest.raises(PaymentUnavailable):
        await validation.validate(RECORD.code)


@pytest.mark.parametrize("status", ERRORS)
async def test_an_error_says_whether_payment_is_out_or_refuses_interview(
    status: grpc.StatusCode,
) -> None:
    expected = (
        PaymentIdentityRefused
        if status in IDENTITY_REFUSED
        else PaymentUnreachable
        if status in OUTAGE
        else PaymentQueryFailed
    )
    codes = gateway(FakePayment(status), Metrics())
    with pytest.raises(PaymentUnavailable) as validated:
        await codes.validate(RECORD.code)
    assert type(validated.value) is expected
    if status is not _Code.NOT_FOUND:  # the order has no code
        with pytest.raises(PaymentUnavailable) as queried:
            await codes.get_update(order_id="ord_1")
        assert type(queried.value) is expected


async def test_the_end_of_the_callers_own_deadline_is_no_outage_of_payment() -> None:
    """Otherwise callers with short deadlines would open the circuit for all others."""
    payment = FakePayment(_Code.DEADLINE_EXCEEDED)
    codes = gateway(payment, Metrics(), failures=1)
    for calls in (1, 2):
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.0, 30.0):
                await codes.validate(RECORD.code)
        assert payment.calls == calls


@pytest.mark.parametrize("status", OUTAGE + IDENTITY_REFUSED)
async def test_after_failures_in_a_row_the_local_cache_decides_without_a_call(
    status: grpc.StatusCode,
) -> None:
    payment = FakePayment(status)
    validation = await code_validation(gateway(payment, Metrics(), failures=2))
    for _ in range(5):
        decided = await validation.validate(RECORD.code)
        assert decided.validated_by is ValidationSource.LOCAL_CACHE
    assert payment.calls == 2


@pytest.mark.parametrize("status", IDENTITY_REFUSED)
async def test_a_refusal_of_our_identity_is_an_error_in_the_log_and_a_metric_until_a_reply(
    status: grpc.StatusCode,
) -> None:
    metrics = Metrics()
    payment = FakePayment(status)
    codes = gateway(payment, metrics)
    assert metrics.registry.get_sample_value(METRIC) == 0
    with structlog.testing.capture_logs() as logs, pytest.raises(PaymentIdentityRefused):
        await codes.validate(RECORD.code)
    assert metrics.registry.get_sample_value(METRIC) == 1
    [entry] = logs
    assert (entry["event"], entry["log_level"], entry["status"]) == (
        "payment refuses our identity",
        "error",
        status.name,
    )
    payment.status = _Code.UNAVAILABLE
    with pytest.raises(PaymentUnreachable):
        await codes.validate(RECORD.code)
    assert metrics.registry.get_sample_value(METRIC) == 1
    payment.status = _Code.OK
    with pytest.raises(CodeNotFound):
        await codes.validate(RECORD.code)
    assert metrics.registry.get_sample_value(METRIC) == 0
