"""interview's calls: request → command → reply. Errors get their status by the table below."""

from datetime import UTC, datetime
from typing import Any

import grpc

from interview.v1 import interview_service_pb2, interview_service_pb2_grpc, session_pb2
from interview_svc import messages
from interview_svc.domain.code_entries import (
    CodeExpired,
    CodeNotFound,
    CodeNotStartable,
    CodeRedeemed,
    CodeRevoked,
    CodeStatus,
    CodeSuspended,
    refuse,
)
from interview_svc.domain.sessions import (
    SessionNotFound,
    SessionNotPrepared,
    SessionNotStartable,
    ValidationSource,
)
from interview_svc.gateways import AccessCodes, PaymentUnavailable, Validation
from interview_svc.storage.unit_of_work import Database
from interview_svc.use_cases import StartSession, start_session
from payment.v1 import access_code_service_pb2
from runtime.calls import Context
from runtime.errors import REQUEST_ID_REUSED, Answer, ErrorTable, precondition, retry_after
from runtime.grpc_server import Servicer
from runtime.guessing import TOO_MANY_GUESSES, GuessLimiter, TooManyGuesses
from runtime.idempotency import Replies, RequestIdReused
from runtime.identity import current_caller
from runtime.paging import cut, last_id, size_of
from shared_model.access_code import MalformedAccessCode, normalise

_Code = grpc.StatusCode
# One and the same answer for a malformed and an unknown code: a guess learns nothing.
_NO_CODE = Answer(
    _Code.NOT_FOUND, "ACCESS_CODE_NOT_FOUND", "访问码不存在", text="there is no such access code"
)


def _refused(reason: str, zh: str) -> Answer:
    return Answer(_Code.FAILED_PRECONDITION, reason, zh, precondition("ACCESS_CODE_STATUS"))


_USED = _refused("ACCESS_CODE_REDEEMED", "访问码已被使用")
ERRORS: ErrorTable = {
    MalformedAccessCode: _NO_CODE,
    CodeNotFound: _NO_CODE,
    CodeRevoked: _refused("ACCESS_CODE_REVOKED", "访问码已作废"),
    CodeSuspended: _refused("ACCESS_CODE_SUSPENDED", "访问码已暂停使用"),
    CodeRedeemed: _USED,
    CodeExpired: _refused("ACCESS_CODE_EXPIRED", "访问码已过期"),
    # The code's session was started by another call: the code is used, whatever payment knows yet.
    SessionNotStartable: _USED,
    SessionNotPrepared: Answer(
        _Code.UNAVAILABLE, "SESSION_NOT_PREPARED", "面试正在准备,请稍后再试", retry_after(1.0)
    ),
    PaymentUnavailable: Answer(
        _Code.UNAVAILABLE, "PAYMENT_UNAVAILABLE", "暂时无法验证访问码", retry_after(2.0)
    ),
    SessionNotFound: Answer(_Code.NOT_FOUND, "SESSION_NOT_FOUND", "面试不存在"),
    RequestIdReused: REQUEST_ID_REUSED,
    TooManyGuesses: TOO_MANY_GUESSES,
}


class InterviewServicer(interview_service_pb2_grpc.InterviewServiceServicer):
    """interview.v1.InterviewService; its contract says what each call does."""

    def __init__(
        self, database: Database, codes: AccessCodes, replies: Replies, guesses: GuessLimiter
    ) -> None:
        self._database, self._codes, self._replies = database, codes, replies
        self._guesses = guesses

    async def _validate(self, typed: str, context: Context) -> tuple[str, Validation]:
        """The code in its one form and payment's answer.

        Raises MalformedAccessCode, CodeNotFound, PaymentUnavailable, TooManyGuesses.
        """
        await self._guesses.check(context)
        try:
            code = normalise(typed)
            return code, await self._codes.validate(code)
        except (MalformedAccessCode, CodeNotFound):
            await self._guesses.failed(context)
            raise

    async def CheckAccessCode(  # noqa: N802
        self, request: interview_service_pb2.CheckAccessCodeRequest, context: Context
    ) -> interview_service_pb2.CheckAccessCodeResponse:
        reply = interview_service_pb2.CheckAccessCodeResponse
        try:
            _, validation = await self._validate(request.access_code, context)
        except (MalformedAccessCode, CodeNotFound):
            return reply(reason=access_code_service_pb2.VALIDATION_REASON_NOT_FOUND)
        async with self._database.reading() as uow:
            prepared = await uow.sessions.orders_with_session([validation.record.order_id])
        return reply(
            valid=validation.valid,
            reason=validation.reason,
            product_id=validation.record.product_id,
            expire_at=validation.record.expire_at,
            session_prepared=bool(prepared),
        )

    async def StartSession(  # noqa: N802
        self, request: interview_service_pb2.StartSessionRequest, context: Context
    ) -> interview_service_pb2.StartSessionResponse:
        caller = current_caller().scope
        reply = interview_service_pb2.StartSessionResponse
        if stored := await self._stored(caller, request):
            return stored
        code, validation = await self._validate(request.access_code, context)
        try:
            _check(validation)
        except CodeNotStartable:
            # Our own first call may have started it while this repeat of it was on its way.
            if stored := await self._stored(caller, request):
                return stored
            raise
        command = StartSession(code, ValidationSource.PAYMENT)
        async with self._database.transaction() as uow:

            async def work() -> interview_service_pb2.StartSessionResponse:
                session = await start_session(command, uow, now=datetime.now(UTC))
                return reply(session=messages.session(session))

            return await self._replies.once(uow.connection, caller, request, reply, work)

    async def _stored(
        self, caller: str, request: interview_service_pb2.StartSessionRequest
    ) -> interview_service_pb2.StartSessionResponse | None:
        async with self._database.reading() as uow:
            return await self._replies.find(
                uow.connection, caller, request, interview_service_pb2.StartSessionResponse
            )

    async def GetSession(  # noqa: N802
        self, request: interview_service_pb2.GetSessionRequest, _context: Context
    ) -> interview_service_pb2.GetSessionResponse:
        async with self._database.reading() as uow:
            session = await uow.sessions.get(request.session_id, only=current_caller().customer)
        return interview_service_pb2.GetSessionResponse(session=messages.session(session))

    async def ListSessions(  # noqa: N802
        self, request: interview_service_pb2.ListSessionsRequest, _context: Context
    ) -> interview_service_pb2.ListSessionsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token)
        status = session_pb2.SessionStatus.Name(request.status)
        wanted = status.removeprefix("SESSION_STATUS_") if request.status else ""
        async with self._database.reading() as uow:
            sessions = await uow.sessions.page(
                request.order_id,
                request.customer_id,
                wanted,
                last,
                size + 1,
                only=current_caller().customer,
            )
        page, token = cut(sessions, size, "session_id")
        return interview_service_pb2.ListSessionsResponse(
            sessions=[messages.session(session) for session in page], next_page_token=token
        )


def _check(validation: Validation) -> None:
    """Raises a CodeNotStartable unless payment found the code valid."""
    if validation.valid:
        return
    name = access_code_service_pb2.ValidationReason.Name(validation.reason)
    raise refuse(CodeStatus(name.removeprefix("VALIDATION_REASON_")))


def servicers(interviews: InterviewServicer) -> list[Servicer]:
    """What interview serves."""
    register: Any = interview_service_pb2_grpc.add_InterviewServiceServicer_to_server
    return [Servicer("interview.v1.InterviewService", register, interviews)]
