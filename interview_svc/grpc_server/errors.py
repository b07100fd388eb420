"""The gRPC status of each of interview's errors."""

from dataclasses import replace

import grpc

from interview_svc.domain.errors import (
    AnswerTooLate,
    CodeExpired,
    CodeNotFound,
    CodeRedeemed,
    CodeRevoked,
    CodeSuspended,
    FeedbackNotFound,
    QuestionNotOpen,
    QuestionUnknown,
    SessionCancelledBeforeStart,
    SessionExpiredBeforeStart,
    SessionNotCompleted,
    SessionNotFound,
    SessionNotInProgress,
    SessionNotPrepared,
    SessionNotStartable,
)
from interview_svc.use_cases.code_validation import PaymentUnavailable
from runtime.database.idempotency import RequestIdReused
from runtime.rpc.errors import (
    REQUEST_ID_REUSED,
    ErrorSpec,
    ErrorTable,
    FieldSpec,
    precondition,
    retry_after,
)
from runtime.rpc.failed_attempt_limit import TOO_MANY_FAILED_ATTEMPTS, TooManyFailedAttempts
from shared_model.access_code import MALFORMED_ZH, MalformedAccessCode

_Code = grpc.StatusCode
# Malformed and unknown codes have the same status and reason. Only the text of the former says what
# a code looks like, which is no secret.
_CODE_NOT_FOUND = ErrorSpec(
    _Code.NOT_FOUND,
    "ACCESS_CODE_NOT_FOUND",
    "访问码不存在",
    message_en="there is no such access code",
)


def _code_status(reason: str, message_zh: str) -> ErrorSpec:
    details = precondition("ACCESS_CODE_STATUS")
    return ErrorSpec(_Code.FAILED_PRECONDITION, reason, message_zh, details)


def _session_status(reason: str, message_zh: str) -> ErrorSpec:
    details = precondition("SESSION_STATUS")
    return ErrorSpec(_Code.FAILED_PRECONDITION, reason, message_zh, details)


_REDEEMED = _code_status("ACCESS_CODE_REDEEMED", "访问码已被使用")
_EXPIRED = _code_status("ACCESS_CODE_EXPIRED", "访问码已过期")
_REVOKED = _code_status("ACCESS_CODE_REVOKED", "访问码已作废")


def _reported_as(spec: ErrorSpec, error: Exception) -> ErrorSpec:
    """Reports with the text of another error: the status does not reveal whose session it is."""
    return replace(spec, details=lambda _: spec.details(error), message_en=str(error))


ERRORS: ErrorTable = {
    MalformedAccessCode: ErrorSpec(_Code.NOT_FOUND, "ACCESS_CODE_NOT_FOUND", MALFORMED_ZH),
    CodeNotFound: _CODE_NOT_FOUND,
    CodeRevoked: _REVOKED,
    CodeSuspended: _code_status("ACCESS_CODE_SUSPENDED", "访问码已暂停使用"),
    CodeRedeemed: _REDEEMED,
    CodeExpired: _EXPIRED,
    # Another call has started the session: the code is used, even before payment redeems it.
    SessionNotStartable: _reported_as(_REDEEMED, CodeRedeemed()),
    # The session ended before its start: the code can start no other one.
    SessionExpiredBeforeStart: _reported_as(_EXPIRED, CodeExpired()),
    SessionCancelledBeforeStart: _reported_as(_REVOKED, CodeRevoked()),
    SessionNotPrepared: ErrorSpec(
        _Code.UNAVAILABLE,
        "SESSION_NOT_PREPARED",
        "面试正在准备,请稍后再试",
        retry_after(1.0),
        "the access code is valid; its session is still being prepared",
    ),
    PaymentUnavailable: ErrorSpec(
        _Code.UNAVAILABLE, "PAYMENT_UNAVAILABLE", "暂时无法验证访问码", retry_after(2.0)
    ),
    SessionNotFound: ErrorSpec(_Code.NOT_FOUND, "SESSION_NOT_FOUND", "面试不存在"),
    SessionNotInProgress: _session_status("SESSION_NOT_IN_PROGRESS", "面试未在进行中"),
    QuestionNotOpen: _session_status("QUESTION_NOT_OPEN", "该问题当前不能作答"),
    AnswerTooLate: _session_status("ANSWER_TOO_LATE", "作答时间已过"),
    SessionNotCompleted: _session_status("SESSION_NOT_COMPLETED", "面试尚未完成或已评价"),
    QuestionUnknown: FieldSpec(
        "comments",
        "QUESTION_UNKNOWN",
        "must be about questions that the session has asked",
        "只能涉及面试中已提问的问题",
    ),
    FeedbackNotFound: ErrorSpec(_Code.NOT_FOUND, "FEEDBACK_NOT_FOUND", "尚无评价"),
    RequestIdReused: REQUEST_ID_REUSED,
    TooManyFailedAttempts: TOO_MANY_FAILED_ATTEMPTS,
}
