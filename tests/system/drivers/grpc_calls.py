"""Repeating gRPC calls as a client does, and expecting the errors that they end with."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2

from clients import error_details, reason_of
from devstack.polling import wait_until

T = TypeVar("T")

# Codes after which a client repeats the call with the same request id.
RETRYABLE_CODES = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
)


async def retry(call: Callable[[], Awaitable[T]], description: str, seconds: float = 90.0) -> T:
    """Repeats a call until it succeeds; an error that is not retryable is raised."""

    async def attempt() -> T | None:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRYABLE_CODES:
                raise
            return None

    return await wait_until(attempt, description, seconds)


def precondition_violation(
    error: grpc.RpcError,
) -> error_details_pb2.PreconditionFailure.Violation:
    """The one violation in the error's google.rpc.PreconditionFailure."""
    (failure,) = error_details(error, error_details_pb2.PreconditionFailure)
    (violation,) = failure.violations
    return violation


@contextmanager
def raises_rpc_error(
    reason: str, code: grpc.StatusCode | None = None, *, subject: str | None = None
) -> Iterator[pytest.ExceptionInfo[grpc.aio.AioRpcError]]:
    """Expects a call in the block to fail with a reason and, if named, a status code.

    With `subject`, the error is a FAILED_PRECONDITION whose one violation names the subject, also
    in its description.
    """
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield raised
    assert reason_of(raised.value) == reason
    if subject is not None:
        code = code or grpc.StatusCode.FAILED_PRECONDITION
        violation = precondition_violation(raised.value)
        assert violation.type
        assert violation.subject == subject
        assert subject in violation.description
    if code is not None:
        assert raised.value.code() is code


@contextmanager
def raises_payment_unavailable() -> Iterator[None]:
    """Expects a call of interview to fail because payment does not answer: with RetryInfo."""
    with raises_rpc_error("PAYMENT_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE) as raised:
        yield
    assert error_details(raised.value, error_details_pb2.RetryInfo)
