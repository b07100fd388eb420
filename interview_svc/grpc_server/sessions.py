"""Sessions: validate a code, start, read, complete, cancel."""

from collections.abc import Awaitable, Callable

from interview.v1 import interview_service_pb2 as contract
from interview_svc.domain.cached_code import check_valid
from interview_svc.domain.errors import CodeNotFound, CodeNotStartable
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies, requests
from interview_svc.storage.sessions import SessionFilter
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.code_validation import Validation
from interview_svc.use_cases.sessions import (
    SessionRef,
    StartSession,
    cancel_session,
    complete_session,
    start_session,
)
from payment.v1 import access_code_service_pb2
from runtime.auth.authentication import current_caller
from runtime.clock import utc_now
from runtime.protobuf import to_timestamp
from runtime.rpc.call_layer import Context
from runtime.rpc.pagination import Page
from shared_model.access_code import MalformedAccessCode, normalise


class SessionServicer(InterviewServicerBase):
    """CheckAccessCode and the methods about sessions."""

    async def CheckAccessCode(  # noqa: N802
        self, request: contract.CheckAccessCodeRequest, context: Context
    ) -> contract.CheckAccessCodeResponse:
        preview = self._dependencies.code_validation.preview
        try:
            validation = await self._validate(request.access_code, context, preview)
        except (MalformedAccessCode, CodeNotFound):
            return contract.CheckAccessCodeResponse(
                reason=access_code_service_pb2.VALIDATION_REASON_NOT_FOUND
            )
        async with self._database.read_only() as uow:
            prepared = await uow.sessions.exists(validation.record.order_id)
        name = f"VALIDATION_REASON_{validation.reason_at(utc_now())}"
        reason = access_code_service_pb2.ValidationReason.Value(name)
        return contract.CheckAccessCodeResponse(
            valid=reason == access_code_service_pb2.VALIDATION_REASON_VALID,
            reason=reason,
            product_id=validation.record.product_id,
            expire_at=to_timestamp(validation.record.expire_at),
            session_prepared=prepared,
        )

    async def StartSession(  # noqa: N802
        self, request: contract.StartSessionRequest, context: Context
    ) -> contract.StartSessionResponse:
        reply = contract.StartSessionResponse
        if stored := await self.stored_reply(request, reply):
            return stored
        validate = self._dependencies.code_validation.validate
        validation = await self._validate(request.access_code, context, validate)
        try:
            check_valid(validation.reason)
        except CodeNotStartable:
            # The first request with this request_id may have started the session meanwhile.
            if stored := await self.stored_reply(request, reply):
                return stored
            raise
        command = StartSession(validation.record.code, validation.validated_by)
        grace_period = self._dependencies.grace_period

        async def handler(uow: UnitOfWork) -> contract.StartSessionResponse:
            session = await start_session(command, uow, clock=utc_now, grace_period=grace_period)
            return reply(session=replies.session(session))

        return await self.run_once(request, reply, handler)

    async def _validate(
        self, text: str, context: Context, validate: Callable[[str], Awaitable[Validation]]
    ) -> Validation:
        """Validates a code as a person typed it; counts malformed and unknown codes as failures.

        Raises MalformedAccessCode, CodeNotFound, PaymentUnavailable, TooManyFailedAttempts.
        """
        async with self._dependencies.failed_attempts.attempt(context) as attempt:
            try:
                return await validate(normalise(text))
            except (MalformedAccessCode, CodeNotFound):
                attempt.mark_failed()
                raise

    async def GetSession(  # noqa: N802
        self, request: contract.GetSessionRequest, _context: Context
    ) -> contract.GetSessionResponse:
        customer_id = current_caller().customer
        async with self._database.read_only() as uow:
            session = await uow.sessions.get(
                request.session_id, customer_id=customer_id, lock=False
            )
        return contract.GetSessionResponse(session=replies.session(session))

    async def ListSessions(  # noqa: N802
        self, request: contract.ListSessionsRequest, _context: Context
    ) -> contract.ListSessionsResponse:
        page = Page.of(request, "ses")
        status = requests.session_status(request)
        filters = SessionFilter(request.order_id, request.customer_id, status)
        customer_id = current_caller().customer
        async with self._database.read_only() as uow:
            sessions = await uow.sessions.page(
                filters, page.after, page.limit, customer_id=customer_id
            )
        sessions, next_page_token = page.split(sessions, "session_id")
        return contract.ListSessionsResponse(
            sessions=[replies.session(session) for session in sessions],
            next_page_token=next_page_token,
        )

    async def CompleteSession(  # noqa: N802
        self, request: contract.CompleteSessionRequest, _context: Context
    ) -> contract.CompleteSessionResponse:
        command = SessionRef(request.session_id, current_caller().customer)

        async def handler(uow: UnitOfWork) -> contract.CompleteSessionResponse:
            session = await complete_session(command, uow, clock=utc_now)
            return contract.CompleteSessionResponse(session=replies.session(session))

        return await self.run_once(request, contract.CompleteSessionResponse, handler)

    async def CancelSession(  # noqa: N802
        self, request: contract.CancelSessionRequest, _context: Context
    ) -> contract.CancelSessionResponse:
        command = SessionRef(request.session_id, current_caller().customer)

        async def handler(uow: UnitOfWork) -> contract.CancelSessionResponse:
            session = await cancel_session(command, uow, clock=utc_now)
            return contract.CancelSessionResponse(session=replies.session(session))

        return await self.run_once(request, contract.CancelSessionResponse, handler)
