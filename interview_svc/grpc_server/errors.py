"""Which status each of interview's errors gets."""

from dataclasses import replace

import grpc

from interview_svc.domain.cached_code import (
    CodeExpired,
    CodeNotFound,
    CodeRedeemed,
    CodeRevoked,
    CodeSuspended,
)
from interview_svc.domain.feedback import FeedbackNotFound, QuestionUnknown
from interview_svc.domain.qa_records import AnswerTooLate, QuestionNotOpen
from interview_svc.domain.session_states import (
    SessionCalledOff,
    SessionLapsed,
    SessionNotCompleted,
    SessionNotFound,
    SessionNotInProgress,
    SessionNotPrepared,
    SessionNotStartable,
)
from interview_svc.use_cases.validation import PaymentUnavailable
from runtime.database.idempotency import RequestIdReused
from runtime.rpc.errors import (
    REQUEST_ID_REUSED,
    ErrorSpec,
    ErrorTable,
    bad_field,
    precondition,
    retry_after,
)
from runtime.rpc.failed_attempt_limit import TOO_MANY_FAILED_ATTEMPTS, TooManyFailedAttempts
from shared_model.access_code import MalformedAccessCode

_Code = grpc.StatusCode
# One and the same answer for a malformed and an unknown code: a guess learns nothing.
_NO_CODE = ErrorSpec(
    _Code.NOT_FOUND,
    "ACCESS_CODE_NOT_FOUND",
    "访问码不存在",
    message_en="there is no such access code",
)


def _refused(reason: str, zh: str, kind: str = "ACCESS_CODE_STATUS") -> ErrorSpec:
    return ErrorSpec(_Code.FAILED_PRECONDITION, reason, zh, precondition(kind))


_USED = _refused("ACCESS_CODE_REDEEMED", "访问码已被使用")
_EXPIRED = _refused("ACCESS_CODE_EXPIRED", "访问码已过期")
_REVOKED = _refused("ACCESS_CODE_REVOKED", "访问码已作废")


def _told_as(answer: ErrorSpec, error: Exception) -> ErrorSpec:
    """Answers in the words of another error, so that nobody sees who noticed, nor whose it is."""
    return replace(answer, details=lambda _: answer.details(error), message_en=str(error))


ERRORS: ErrorTable = {
    MalformedAccessCode: _NO_CODE,
    CodeNotFound: _NO_CODE,
    CodeRevoked: _REVOKED,
    CodeSuspended: _refused("ACCESS_CODE_SUSPENDED", "访问码已暂停使用"),
    CodeRedeemed: _USED,
    CodeExpired: _EXPIRED,
    # The code's session was started by another call: the code is used, whatever payment knows yet.
    SessionNotStartable: _told_as(_USED, CodeRedeemed()),
    # It ended unstarted, and with it what the code was good for.
    SessionLapsed: _told_as(_EXPIRED, CodeExpired()),
    SessionCalledOff: _told_as(_REVOKED, CodeRevoked()),
    SessionNotPrepared: ErrorSpec(
        _Code.UNAVAILABLE, "SESSION_NOT_PREPARED", "面试正在准备,请稍后再试", retry_after(1.0)
    ),
    PaymentUnavailable: ErrorSpec(
        _Code.UNAVAILABLE, "PAYMENT_UNAVAILABLE", "暂时无法验证访问码", retry_after(2.0)
    ),
    SessionNotFound: ErrorSpec(_Code.NOT_FOUND, "SESSION_NOT_FOUND", "面试不存在"),
    SessionNotInProgress: _refused("SESSION_NOT_IN_PROGRESS", "面试未在进行中", "SESSION_STATUS"),
    QuestionNotOpen: _refused("QUESTION_NOT_OPEN", "该问题当前不能作答", "SESSION_STATUS"),
    AnswerTooLate: _refused("ANSWER_TOO_LATE", "作答时间已过", "SESSION_STATUS"),
    SessionNotCompleted: _refused(
        "SESSION_NOT_COMPLETED", "面试尚未完成或已评价", "SESSION_STATUS"
    ),
    QuestionUnknown: ErrorSpec(
        _Code.INVALID_ARGUMENT, "QUESTION_UNKNOWN", "评语涉及未提问的问题", bad_field("comments")
    ),
    FeedbackNotFound: ErrorSpec(_Code.NOT_FOUND, "FEEDBACK_NOT_FOUND", "尚无评价"),
    RequestIdReused: REQUEST_ID_REUSED,
    TooManyFailedAttempts: TOO_MANY_FAILED_ATTEMPTS,
}
