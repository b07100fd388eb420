"""What a failed call says to a program and to a person."""

from datetime import timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from clients import AddressUnknown, CallFailed, FieldViolation, Service, reason_of


def rpc_error(code: grpc.StatusCode, message: str = "", *details: Message) -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    for detail in details:
        status.details.add().Pack(detail)
    metadata = rpc_status.to_status(status).trailing_metadata if details else ()
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), details=message
    )


def info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="payment.v1")


def call_failed(error: grpc.aio.AioRpcError) -> CallFailed:
    return CallFailed(error, "payment", "10.0.0.1:50051", 5.0)


def test_a_failed_call_carries_reason_retry_delay_and_field_violations() -> None:
    error = rpc_error(
        grpc.StatusCode.INVALID_ARGUMENT,
        "order_id: too short",
        info("INVALID_REQUEST"),
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field="order_id", description="too short"
                )
            ]
        ),
    )
    failed = call_failed(error)
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert failed.message == "order_id: too short"
    assert failed.reason == reason_of(error) == reason_of(failed) == "INVALID_REQUEST"
    assert failed.retry_delay == timedelta(seconds=1.5)
    assert failed.field_violations == (FieldViolation("order_id", "too short"),)


def test_an_error_without_details_has_no_reason_no_delay_and_no_violations() -> None:
    failed = call_failed(rpc_error(grpc.StatusCode.INTERNAL, "boom"))
    assert (failed.reason, failed.retry_delay, failed.field_violations) == ("", None, ())


def test_details_that_contradict_the_status_are_ignored() -> None:
    """As another server might send them."""
    error = rpc_error(grpc.StatusCode.NOT_FOUND, "no order", info("ORDER_NOT_FOUND"))
    other = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL,
        error.initial_metadata(),
        error.trailing_metadata(),
        details="no order",
    )
    assert reason_of(other) == ""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            rpc_error(grpc.StatusCode.UNAUTHENTICATED, "expired", info("TOKEN_EXPIRED")),
            "payment rejected the token: expired (TOKEN_EXPIRED)",
        ),
        (
            rpc_error(grpc.StatusCode.UNAUTHENTICATED, "who is it"),
            "payment rejected the token: who is it (UNAUTHENTICATED)",
        ),
        (
            rpc_error(grpc.StatusCode.PERMISSION_DENIED, "no", info("METHOD_NOT_ALLOWED")),
            "payment rejected the token: no (METHOD_NOT_ALLOWED)",
        ),
        (
            rpc_error(grpc.StatusCode.UNAVAILABLE, "connection refused"),
            "payment at 10.0.0.1:50051 is unreachable: connection refused",
        ),
        (
            rpc_error(grpc.StatusCode.UNAVAILABLE, "no database", info("DATABASE_UNAVAILABLE")),
            "payment: no database (DATABASE_UNAVAILABLE)",
        ),
        (
            rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "", info("DEADLINE_EXCEEDED")),
            "payment at 10.0.0.1:50051 did not answer within 5 s",
        ),
        (rpc_error(grpc.StatusCode.INTERNAL, "boom"), "payment: boom (INTERNAL)"),
    ],
)
def test_a_failed_call_is_one_line_for_a_person(error: grpc.aio.AioRpcError, text: str) -> None:
    assert str(call_failed(error)) == text


def test_an_unknown_address_names_the_service() -> None:
    assert str(AddressUnknown(Service.INTERVIEW)) == "the address of interview is unknown"
