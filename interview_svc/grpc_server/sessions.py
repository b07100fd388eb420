"""Calls with an access code: preview it, start its interview."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from interview.v1 import interview_service_pb2
from interview_svc.domain.cached_code import CodeNotFound, CodeNotStartable, check_valid
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.interviews import StartSession, start_session
from interview_svc.use_cases.validation import Validation
from payment.v1 import access_code_service_pb2
from runtime.protobuf import to_timestamp
from runtime.rpc.interceptor import Context
from shared_model.access_code import MalformedAccessCode, normalise


class StartServicer(InterviewServicerBase):
    """Preview a code, start its interview."""

    async def _judge(
        self, typed: str, context: Context, judge: Callable[[str], Awaitable[Validation]]
    ) -> Validation:
        """What is found out about a code.

        Raises MalformedAccessCode, CodeNotFound, PaymentUnavailable, TooManyFailedAttempts.
        """
        async with self._dependencies.failed_attempts.attempt(context) as attempt:
            try:
                return await judge(normalise(typed))
            except (MalformedAccessCode, CodeNotFound):
                attempt.mark_failed()
                raise

    async def CheckAccessCode(  # noqa: N802
        self, request: interview_service_pb2.CheckAccessCodeRequest, context: Context
    ) -> interview_service_pb2.CheckAccessCodeResponse:
        reply = interview_service_pb2.CheckAccessCodeResponse
        preview = self._dependencies.code_validation.preview
        try:
            found = await self._judge(request.access_code, context, preview)
        except (MalformedAccessCode, CodeNotFound):
            return reply(reason=access_code_service_pb2.VALIDATION_REASON_NOT_FOUND)
        async with self._database.read_only() as uow:
            prepared = await uow.sessions.exists(found.record.order_id)
        name = f"VALIDATION_REASON_{found.reason_at(datetime.now(UTC))}"
        reason = access_code_service_pb2.ValidationReason.Value(name)
        return reply(
            valid=reason == access_code_service_pb2.VALIDATION_REASON_VALID,
            reason=reason,
            product_id=found.record.product_id,
            expire_at=to_timestamp(found.record.expire_at),
            session_prepared=prepared,
        )

    async def StartSession(  # noqa: N802
        self, request: interview_service_pb2.StartSessionRequest, context: Context
    ) -> interview_service_pb2.StartSessionResponse:
        reply = interview_service_pb2.StartSessionResponse
        if stored := await self.stored_reply(request, reply):
            return stored
        found = await self._judge(
            request.access_code, context, self._dependencies.code_validation.validate
        )
        try:
            check_valid(found.reason)
        except CodeNotStartable:
            # Our own first call may have started it while this repeat of it was on its way.
            if stored := await self.stored_reply(request, reply):
                return stored
            raise
        command = StartSession(found.record.code, found.validated_by)

        async def work(uow: UnitOfWork) -> interview_service_pb2.StartSessionResponse:
            now = datetime.now(UTC)
            session = await start_session(
                command, uow, now=now, grace_period=self._dependencies.grace_period
            )
            return reply(session=replies.session(session))

        return await self.run_once(request, reply, work)
