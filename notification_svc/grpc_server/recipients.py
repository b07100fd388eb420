"""notification.v1.NotificationService, addresses and preferences: request → command → reply."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from notification.v1 import notification_service_pb2, notification_service_pb2_grpc
from notification_svc.domain.preferences import MailPreferences
from notification_svc.domain.suppressions import normalised
from notification_svc.grpc_server.errors import NotTheirs
from notification_svc.messages import replies
from notification_svc.storage.unit_of_work import Database, UnitOfWork
from notification_svc.use_cases.ports import NewIdentity
from notification_svc.use_cases.suppressions import (
    RestoreAddress,
    SuppressAddress,
    restore_address,
    suppress_address,
)
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import IdempotencyStore
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of

Reply = TypeVar("Reply", bound=Message)


class RecipientsServicer(notification_service_pb2_grpc.NotificationServiceServicer):
    """Whom mails go to: the suppression list, and what customers want."""

    def __init__(
        self, database: Database, identity: NewIdentity, replies: IdempotencyStore
    ) -> None:
        self._database, self._identity, self._replies = database, identity, replies

    async def _once(
        self,
        uow: UnitOfWork,
        request: Message,
        reply: type[Reply],
        work: Callable[[], Awaitable[Reply]],
    ) -> Reply:
        scope = current_caller().scope
        return await self._replies.run_once(uow.connection, scope, request, reply, work)

    async def ListSuppressions(  # noqa: N802
        self, request: notification_service_pb2.ListSuppressionsRequest, _context: Context
    ) -> notification_service_pb2.ListSuppressionsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "sup")
        email = normalised(request.email) if request.email else ""
        async with self._database.read_only() as uow:
            found = await uow.suppressions.page(email, last, size + 1)
        page, token = cut(found, size, "suppression_id")
        return notification_service_pb2.ListSuppressionsResponse(
            suppressions=[replies.suppression(one) for one in page], next_page_token=token
        )

    async def CreateSuppression(  # noqa: N802
        self, request: notification_service_pb2.CreateSuppressionRequest, _context: Context
    ) -> notification_service_pb2.CreateSuppressionResponse:
        reply = notification_service_pb2.CreateSuppressionResponse
        command = SuppressAddress(request.email, request.reason)
        async with self._database.transaction() as uow:

            async def work() -> notification_service_pb2.CreateSuppressionResponse:
                now = await uow.clock()
                entry = await suppress_address(command, uow, identity=self._identity, now=now)
                return reply(suppression=replies.suppression(entry))

            return await self._once(uow, request, reply, work)

    async def DeleteSuppression(  # noqa: N802
        self, request: notification_service_pb2.DeleteSuppressionRequest, _context: Context
    ) -> notification_service_pb2.DeleteSuppressionResponse:
        reply = notification_service_pb2.DeleteSuppressionResponse
        async with self._database.transaction() as uow:

            async def work() -> notification_service_pb2.DeleteSuppressionResponse:
                await restore_address(RestoreAddress(request.email), uow)
                return reply()

            return await self._once(uow, request, reply, work)

    async def GetMailPreferences(  # noqa: N802
        self, request: notification_service_pb2.GetMailPreferencesRequest, _context: Context
    ) -> notification_service_pb2.GetMailPreferencesResponse:
        _check_theirs(request.customer_id)
        async with self._database.read_only() as uow:
            found = await uow.preferences.get(request.customer_id)
        return notification_service_pb2.GetMailPreferencesResponse(
            preferences=replies.preferences(found)
        )

    async def UpdateMailPreferences(  # noqa: N802
        self, request: notification_service_pb2.UpdateMailPreferencesRequest, _context: Context
    ) -> notification_service_pb2.UpdateMailPreferencesResponse:
        _check_theirs(request.customer_id)
        reply = notification_service_pb2.UpdateMailPreferencesResponse
        wanted = MailPreferences(request.customer_id, request.feedback_declined)
        async with self._database.transaction() as uow:

            async def work() -> notification_service_pb2.UpdateMailPreferencesResponse:
                await uow.preferences.save(wanted)
                return reply(preferences=replies.preferences(wanted))

            return await self._once(uow, request, reply, work)


def _check_theirs(customer_id: str) -> None:
    """Raises NotTheirs."""
    if current_caller().customer not in {None, customer_id}:
        raise NotTheirs(f"{customer_id} is somebody else")
