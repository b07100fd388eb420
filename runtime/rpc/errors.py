"""Maps errors to gRPC statuses with google.rpc details."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from eventbus.errors import describe_error, is_transient
from runtime.auth.authentication import (
    KeysUnavailable,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from runtime.auth.authorization import CallNotAllowed
from runtime.redaction import mask
from runtime.rpc.deadlines import DeadlineExceeded
from runtime.rpc.retry_pushback import to_grpc_status
from runtime.violations import Violation, sentences

_log = structlog.get_logger(__name__)
_Code = grpc.StatusCode
_MAX_TEXT_LENGTH, _MAX_PATH_LENGTH, _MAX_VIOLATIONS = 400, 120, 16
Details = Callable[[Exception], Sequence[Message]]


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """How an error is reported: status code, UPPER_SNAKE reason, and the message in Chinese.

    The English message is the error's own text, or `message_en` where that would reveal too much or
    the error has none.
    """

    code: grpc.StatusCode
    reason: str
    message_zh: str
    details: Details = field(default=lambda _: ())
    message_en: str = ""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """How an error is reported that one field of the request causes: as an InvalidRequest.

    The texts say what is wanted of the field and follow its path. An error with a text in Chinese
    (`zh`) says both itself.
    """

    code: ClassVar = grpc.StatusCode.INVALID_ARGUMENT
    field: str
    reason: str
    en: str = ""
    zh: str = ""

    def violated_by(self, error: Exception) -> "InvalidRequest":
        """The error to report."""
        en, zh = self.en or str(error), self.zh or str(getattr(error, "zh", ""))
        return InvalidRequest([Violation(self.field, en, zh)], self.reason)


ErrorTable = Mapping[type[Exception], ErrorSpec | FieldSpec]


def precondition(kind: str) -> Details:
    """PreconditionFailure with the error's `subject` and text, and `kind` as its type."""

    def details(error: Exception) -> Sequence[Message]:
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=kind,
            subject=_short(str(getattr(error, "subject", ""))),
            description=_short(str(error)),
        )
        return [error_details_pb2.PreconditionFailure(violations=[violation])]

    return details


def retry_after(seconds: float) -> Details:
    """RetryInfo with a delay."""
    delay = Duration()
    delay.FromTimedelta(timedelta(seconds=seconds))
    return lambda _: [error_details_pb2.RetryInfo(retry_delay=delay)]


class TooManyCalls(Exception):
    """The service has reached its limit of concurrent calls, in total or of this caller."""


class DeadlineTooClose(Exception):
    """The process is so busy that the call would not be answered before its deadline."""


class TooManyStreams(Exception):
    """The limit of open streams of this method is reached, in total or for this address."""


class InvalidRequest(Exception):
    """The request violates constraints of its contract."""

    def __init__(self, violations: Sequence[Violation], reason: str = "INVALID_REQUEST") -> None:
        super().__init__(sentences(violations))
        self.violations, self.reason = violations, reason


REQUEST_ID_REUSED = ErrorSpec(
    _Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "同一 request_id 已用于不同的请求"
)
_OVERLOADED = "当前请求过多,请稍后再试"
_UNAUTHENTICATED = "身份令牌缺失或无效"
_COMMON: ErrorTable = {
    TokenMissing: ErrorSpec(
        _Code.UNAUTHENTICATED,
        "TOKEN_MISSING",
        _UNAUTHENTICATED,
        message_en="the call carries no bearer token",
    ),
    TokenInvalid: ErrorSpec(_Code.UNAUTHENTICATED, "TOKEN_INVALID", _UNAUTHENTICATED),
    TokenExpired: ErrorSpec(
        _Code.UNAUTHENTICATED,
        "TOKEN_EXPIRED",
        "身份令牌已过期",
        message_en="the token has expired",
    ),
    KeysUnavailable: ErrorSpec(
        _Code.UNAVAILABLE, "KEYS_UNAVAILABLE", "暂时无法验证身份,请稍后再试", retry_after(5.0)
    ),
    CallNotAllowed: ErrorSpec(_Code.PERMISSION_DENIED, "METHOD_NOT_ALLOWED", "您无权调用此方法"),
    DeadlineExceeded: ErrorSpec(
        _Code.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
        "处理超时",
        message_en=(
            "the deadline of the call passed; a step that had begun was rolled back or is completed"
        ),
    ),
    TooManyCalls: ErrorSpec(
        _Code.RESOURCE_EXHAUSTED,
        "TOO_MANY_CALLS",
        _OVERLOADED,
        retry_after(1.0),
        "the service has reached its limit of concurrent calls, in total or of this caller",
    ),
    DeadlineTooClose: ErrorSpec(
        _Code.RESOURCE_EXHAUSTED,
        "DEADLINE_TOO_CLOSE",
        _OVERLOADED,
        retry_after(1.0),
        "the service is busy: the call would not be answered before its deadline",
    ),
    TooManyStreams: ErrorSpec(
        _Code.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS",
        _OVERLOADED,
        retry_after(10.0),
        "the limit of open streams of this method is reached, in total or for this address",
    ),
}
_DATABASE_UNAVAILABLE = ErrorSpec(
    _Code.UNAVAILABLE,
    "DATABASE_UNAVAILABLE",
    "服务暂时不可用,请稍后再试",
    retry_after(1.0),
    "the service's database is unavailable",
)


class ErrorMapper:
    """Maps errors to statuses by a service's table; others are INTERNAL without text."""

    def __init__(self, table: ErrorTable) -> None:
        self._table = {**_COMMON, **table}

    def status(self, error: Exception, domain: str, accept_language: str = "") -> grpc.Status:
        """The status of a call that raised `error`, with a message in the caller's language.

        `domain` is the package of the called method.
        """
        return self.report(error, domain, accept_language)[0]

    def report(
        self, error: Exception, domain: str, accept_language: str = ""
    ) -> tuple[grpc.Status, str]:
        """As `status`, with the reason in its details."""
        status = self._status_of(error, chinese=_prefers_chinese(accept_language))
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        info.domain = domain
        status.details[0].Pack(info)
        return to_grpc_status(status), info.reason

    def _status_of(self, error: Exception, *, chinese: bool) -> status_pb2.Status:
        if isinstance(error, InvalidRequest):
            return _invalid(error, chinese=chinese)
        for kind in type(error).__mro__:
            spec = self._table.get(kind)
            if isinstance(spec, FieldSpec):
                return _invalid(spec.violated_by(error), chinese=chinese)
            if spec:
                return _from_spec(spec, error, chinese=chinese)
        if is_transient(error):
            _log.warning("database unavailable", error=describe_error(error))
            return _from_spec(_DATABASE_UNAVAILABLE, error, chinese=chinese)
        incident = uuid.uuid4().hex
        _log.error("unexpected error", incident=incident, exc_info=error)
        text = f"unexpected error, incident {incident}"
        localized = _localized(
            f"内部错误,事件编号 {incident}" if chinese else text, chinese=chinese
        )
        return _status(_Code.INTERNAL, "INTERNAL", text, [localized], incident)


def _invalid(error: InvalidRequest, *, chinese: bool) -> status_pb2.Status:
    found = error.violations
    details = [
        _bad_request(found, chinese=chinese),
        _localized(sentences(found, chinese=chinese), chinese=chinese),
    ]
    return _status(_Code.INVALID_ARGUMENT, error.reason, str(error), details)


def _from_spec(spec: ErrorSpec, error: Exception, *, chinese: bool) -> status_pb2.Status:
    text = spec.message_en or str(error) or spec.reason
    localized = _localized(spec.message_zh if chinese else text, chinese=chinese)
    return _status(spec.code, spec.reason, text, [*spec.details(error), localized])


def _status(
    code: grpc.StatusCode,
    reason: str,
    text: str,
    details: Sequence[Message],
    incident: str = "",
) -> status_pb2.Status:
    metadata = {"incident_id": incident} if incident else {}
    info = error_details_pb2.ErrorInfo(reason=reason, metadata=metadata)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=_short(text))
    for detail in (info, *details):
        status.details.add().Pack(detail)
    return status


def _prefers_chinese(accept_language: str) -> bool:
    """Whether Chinese is the preferred of the supported languages, by weight (RFC 9110)."""
    supported = []
    for position, entry in enumerate(accept_language.split(",")):
        tag, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        is_supported = tag.split("-")[0] in {"zh", "en"}
        if is_supported and weight.replace(".", "", 1).isdigit() and float(weight) > 0:
            supported.append((-float(weight), position, tag))
    return bool(supported) and min(supported)[2].startswith("zh")


def _bad_request(violations: Sequence[Violation], *, chinese: bool) -> error_details_pb2.BadRequest:
    """The violations, in Chinese beside English if asked; beyond the limit only their number."""
    listed = [
        error_details_pb2.BadRequest.FieldViolation(
            field=_short(violation.field, _MAX_PATH_LENGTH),
            description=_short(violation.en, _MAX_PATH_LENGTH),
            localized_message=_localized(violation.zh, chinese=True) if chinese else None,
        )
        for violation in violations[:_MAX_VIOLATIONS]
    ]
    if more := len(violations) - len(listed):
        listed.append(error_details_pb2.BadRequest.FieldViolation(description=f"and {more} more"))
    return error_details_pb2.BadRequest(field_violations=listed)


def _short(text: str, limit: int = _MAX_TEXT_LENGTH) -> str:
    """Masks secrets and cuts the text: errors travel in headers of limited size."""
    text = mask(text[: 2 * limit])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _localized(message: str, *, chinese: bool) -> error_details_pb2.LocalizedMessage:
    locale = "zh-CN" if chinese else "en"
    return error_details_pb2.LocalizedMessage(locale=locale, message=_short(message))
