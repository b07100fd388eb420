"""payment.v1.AccessCodeService: the methods that change a code."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from payment.v1 import access_code_pb2, access_code_service_pb2
from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.grpc_server.dependencies import PaymentServicerBase
from payment_svc.messages import replies
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.access_codes import (
    ChangeAccessCode,
    reinstate_access_code,
    reissue_access_code,
    revoke_access_code,
    suspend_access_code,
)
from runtime.auth.authentication import Role, current_caller
from runtime.clock import utc_now
from runtime.rpc.call_layer import Context

Request = (
    access_code_service_pb2.RevokeAccessCodeRequest
    | access_code_service_pb2.SuspendAccessCodeRequest
    | access_code_service_pb2.ReinstateAccessCodeRequest
    | access_code_service_pb2.ReissueAccessCodeRequest
)
Reply = TypeVar(
    "Reply",
    access_code_service_pb2.RevokeAccessCodeResponse,
    access_code_service_pb2.SuspendAccessCodeResponse,
    access_code_service_pb2.ReinstateAccessCodeResponse,
    access_code_service_pb2.ReissueAccessCodeResponse,
)
UseCase = Callable[[ChangeAccessCode, UnitOfWork], Awaitable[AccessCode]]


class AccessCodeOperations(PaymentServicerBase):
    """Methods of payment.v1.AccessCodeService that change a code."""

    async def RevokeAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.RevokeAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.RevokeAccessCodeResponse:
        revoke = partial(revoke_access_code, clock=utc_now)
        reply = access_code_service_pb2.RevokeAccessCodeResponse
        return await self._change(request, reply, revoke)

    async def SuspendAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.SuspendAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.SuspendAccessCodeResponse:
        suspend = partial(suspend_access_code, clock=utc_now)
        reply = access_code_service_pb2.SuspendAccessCodeResponse
        return await self._change(request, reply, suspend)

    async def ReinstateAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.ReinstateAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.ReinstateAccessCodeResponse:
        reinstate = partial(reinstate_access_code, clock=utc_now)
        reply = access_code_service_pb2.ReinstateAccessCodeResponse
        return await self._change(request, reply, reinstate)

    async def ReissueAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.ReissueAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.ReissueAccessCodeResponse:
        reissue = partial(reissue_access_code, codes=self._dependencies.code_factory, clock=utc_now)
        reply = access_code_service_pb2.ReissueAccessCodeResponse
        return await self._change(request, reply, reissue)

    async def _change(self, request: Request, reply: type[Reply], use_case: UseCase) -> Reply:
        cause = Cause(current_caller().scope, request.reason)
        command = ChangeAccessCode(request.access_code_id, cause)

        async def change(uow: UnitOfWork) -> Reply:
            return reply(record=_visible_record(await use_case(command, uow)))

        return await self.run_once(request, reply, change)


def _visible_record(code: AccessCode) -> access_code_pb2.AccessCode:
    """The record; only operators see the code itself, customers get it by mail."""
    record = replies.access_code(code)
    if Role.OPERATOR not in current_caller().roles:
        record.ClearField("code")
    return record
