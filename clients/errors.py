"""Errors of failed calls: status code, reason, message, retry delay and field violations."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

Detail = TypeVar("Detail", bound=Message)
_Code = grpc.StatusCode


class ClientError(Exception):
    """A service cannot be called, or a call failed."""


class AddressUnknown(ClientError):
    """No address of the service was given."""

    def __init__(self, service: str) -> None:
        super().__init__(f"the address of {service} is unknown")
        self.service = service


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that breaks a constraint of the contract."""

    field: str
    description: str


class CallFailed(ClientError, grpc.aio.AioRpcError):
    """A call failed; its text is one line for a person.

    `reason` is the UPPER_SNAKE reason of google.rpc.ErrorInfo, "" if the service gave none;
    `retry_delay` and `field_violations` come from google.rpc.RetryInfo and BadRequest.
    """

    def __init__(
        self, error: grpc.aio.AioRpcError, service: str, address: str, timeout: float
    ) -> None:
        super().__init__(
            error.code(),
            error.initial_metadata(),
            error.trailing_metadata(),
            error.details(),
            error.debug_error_string(),
        )
        self.service, self.address, self.timeout = service, address, timeout
        self.reason = reason_of(error)
        self.retry_delay = _retry_delay(error)
        self.field_violations = _field_violations(error)

    @property
    def message(self) -> str:
        """The message of the status."""
        return self.details() or ""

    def __str__(self) -> str:
        code, message = self.code(), self.message
        if code is _Code.UNAUTHENTICATED or self.reason == "METHOD_NOT_ALLOWED":
            return f"{self.service} rejected the token: {message} ({self.reason or code.name})"
        if code is _Code.UNAVAILABLE and not self.reason:
            return f"{self.service} at {self.address} is unreachable: {message}"
        if code is _Code.DEADLINE_EXCEEDED:  # reported by gRPC or by the service
            return f"{self.service} at {self.address} did not answer within {self.timeout:g} s"
        return f"{self.service}: {message} ({self.reason or code.name})"


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in an error's google.rpc.ErrorInfo; "" if it has none."""
    for info in error_details(error, error_details_pb2.ErrorInfo):
        return str(info.reason)
    return ""


def _retry_delay(error: grpc.aio.AioRpcError) -> timedelta | None:
    for info in error_details(error, error_details_pb2.RetryInfo):
        delay: timedelta = info.retry_delay.ToTimedelta()
        return delay
    return None


def _field_violations(error: grpc.aio.AioRpcError) -> tuple[FieldViolation, ...]:
    return tuple(
        FieldViolation(violation.field, violation.description)
        for request in error_details(error, error_details_pb2.BadRequest)
        for violation in request.field_violations
    )


def error_details(error: grpc.RpcError, kind: type[Detail]) -> list[Detail]:
    """The details of one kind in an error's google.rpc.Status, such as ErrorInfo."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:  # another server's details, which contradict its status
        return []
    found = [(kind(), detail) for detail in status.details] if status else []
    return [message for message, detail in found if detail.Unpack(message)]
