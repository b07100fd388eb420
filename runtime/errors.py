"""How errors leave a service: a status, and google.rpc details that a program can read."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from eventbus.verdicts import describe, is_infrastructure

_log = structlog.get_logger(__name__)
Details = Callable[[Exception], Sequence[Message]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a domain error becomes: status, UPPER_SNAKE reason, further details if it has some."""

    code: grpc.StatusCode
    reason: str
    details: Details = field(default=lambda _: ())
    text: str = ""


ErrorTable = Mapping[type[Exception], Answer]


def precondition(kind: str) -> Details:
    """Details of a refused step: the error's `subject` and text, under a kind of violation."""

    def details(error: Exception) -> Sequence[Message]:
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=kind, subject=str(getattr(error, "subject", "")), description=str(error)
        )
        return [error_details_pb2.PreconditionFailure(violations=[violation])]

    return details


def retry_after(seconds: float) -> Details:
    """Details that tell when to try again."""
    delay = Duration()
    delay.FromTimedelta(timedelta(seconds=seconds))
    return lambda _: [error_details_pb2.RetryInfo(retry_delay=delay)]


class InvalidRequest(Exception):
    """The request breaks constraints of its contract."""

    def __init__(
        self, violations: Sequence[tuple[str, str]], reason: str = "INVALID_REQUEST"
    ) -> None:
        """`violations` are field paths and descriptions."""
        super().__init__(
            "; ".join(f"{path}: {text}" if path else text for path, text in violations)
        )
        self.violations, self.reason = violations, reason


_INFRASTRUCTURE = Answer(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", retry_after(1.0))


class ErrorMapper:
    """Maps errors to statuses by a service's table; what isn't in it is INTERNAL, untold."""

    def __init__(self, domain: str, table: ErrorTable) -> None:
        self._domain, self._table = domain, table

    def status(self, error: Exception) -> grpc.Status:
        """The status with which a call that raised `error` ends."""
        if isinstance(error, InvalidRequest):
            fields = [
                error_details_pb2.BadRequest.FieldViolation(field=path, description=text)
                for path, text in error.violations
            ]
            bad_request = error_details_pb2.BadRequest(field_violations=fields)
            code = grpc.StatusCode.INVALID_ARGUMENT
            return self._status(code, error.reason, str(error), [bad_request])
        for kind in type(error).__mro__:
            if answer := self._table.get(kind):
                text = answer.text or str(error) or (type(error).__doc__ or "").split("\n")[0]
                return self._status(answer.code, answer.reason, text, answer.details(error))
        if is_infrastructure(error) or isinstance(error, PoolTimeoutError):
            _log.warning("call fails for want of the database", error=describe(error))
            answer = _INFRASTRUCTURE
            text = "the service's database is unavailable"
            return self._status(answer.code, answer.reason, text, answer.details(error))
        incident = uuid.uuid4().hex
        _log.error("unexpected error", incident=incident, exc_info=error)
        text = f"unexpected error, incident {incident}"
        return self._status(
            grpc.StatusCode.INTERNAL, "INTERNAL", text, [], {"incident_id": incident}
        )

    def _status(
        self,
        code: grpc.StatusCode,
        reason: str,
        text: str,
        details: Sequence[Message],
        metadata: Mapping[str, str] | None = None,
    ) -> grpc.Status:
        info = error_details_pb2.ErrorInfo(
            reason=reason, domain=self._domain, metadata=dict(metadata or {})
        )
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=text)
        for detail in (info, *details):
            status.details.add().Pack(detail)
        return rpc_status.to_status(status)
