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
from runtime.masking import mask

_log = structlog.get_logger(__name__)
_LONGEST_TEXT, _LONGEST_PATH, _MOST_VIOLATIONS = 400, 120, 16
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
            type=kind,
            subject=_short(str(getattr(error, "subject", ""))),
            description=_short(str(error)),
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

    def __init__(self, table: ErrorTable) -> None:
        self._table = table

    def status(self, error: Exception, domain: str) -> grpc.Status:
        """The status with which a call that raised `error` ends; `domain` is its package."""
        status = self._status_of(error)
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        info.domain = domain
        status.details[0].Pack(info)
        return rpc_status.to_status(status)

    def _status_of(self, error: Exception) -> status_pb2.Status:
        if isinstance(error, InvalidRequest):
            fields = _field_violations(error.violations)
            bad_request = error_details_pb2.BadRequest(field_violations=fields)
            code = grpc.StatusCode.INVALID_ARGUMENT
            return _status(code, error.reason, str(error), [bad_request])
        for kind in type(error).__mro__:
            if answer := self._table.get(kind):
                text = answer.text or str(error) or (type(error).__doc__ or "").split("\n")[0]
                return _status(answer.code, answer.reason, text, answer.details(error))
        if is_infrastructure(error) or isinstance(error, PoolTimeoutError):
            _log.warning("call fails for want of the database", error=describe(error))
            answer = _INFRASTRUCTURE
            text = "the service's database is unavailable"
            return _status(answer.code, answer.reason, text, answer.details(error))
        incident = uuid.uuid4().hex
        _log.error("unexpected error", incident=incident, exc_info=error)
        text = f"unexpected error, incident {incident}"
        return _status(grpc.StatusCode.INTERNAL, "INTERNAL", text, [], {"incident_id": incident})


def _status(
    code: grpc.StatusCode,
    reason: str,
    text: str,
    details: Sequence[Message],
    metadata: Mapping[str, str] | None = None,
) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, metadata=dict(metadata or {}))
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=_short(text))
    for detail in (info, *details):
        status.details.add().Pack(detail)
    return status


def _field_violations(
    violations: Sequence[tuple[str, str]],
) -> list[error_details_pb2.BadRequest.FieldViolation]:
    """Every violation; only absurdly many are counted instead of listed."""
    told = [
        error_details_pb2.BadRequest.FieldViolation(
            field=_short(path, _LONGEST_PATH), description=_short(text, _LONGEST_PATH)
        )
        for path, text in violations[:_MOST_VIOLATIONS]
    ]
    if more := len(violations) - len(told):
        told.append(error_details_pb2.BadRequest.FieldViolation(description=f"and {more} more"))
    return told


def _short(text: str, most: int = _LONGEST_TEXT) -> str:
    """What is sent back is cut, since errors travel in headers of limited size, and masked."""
    text = mask(text[: 2 * most])
    return text if len(text) <= most else f"{text[: most - 1]}…"
