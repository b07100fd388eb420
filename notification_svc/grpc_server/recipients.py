"""notification.v1.NotificationService: suppressions and mail preferences."""

from notification.v1 import notification_service_pb2
from notification_svc.domain.preferences import MailPreferences
from notification_svc.grpc_server.dependencies import NotificationServicerBase
from notification_svc.grpc_server.errors import NotTheirs
from notification_svc.messages import replies
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases.suppressions import (
    RestoreAddress,
    SuppressAddress,
    restore_address,
    suppress_address,
)
from runtime.auth.authentication import current_caller
from runtime.rpc.call_layer import Context
from runtime.rpc.pagination import Page
from shared_model.mail_address import MailAddress


class RecipientsServicer(NotificationServicerBase):
    """Suppressions and mail preferences."""

    async def ListSuppressions(  # noqa: N802
        self, request: notification_service_pb2.ListSuppressionsRequest, _context: Context
    ) -> notification_service_pb2.ListSuppressionsResponse:
        page = Page.of(request, "sup")
        email = str(MailAddress.parse(request.email)) if request.email else ""
        async with self._database.read_only() as uow:
            found = await uow.suppressions.page(email, page.after, page.limit)
        found, token = page.split(found, "suppression_id")
        return notification_service_pb2.ListSuppressionsResponse(
            suppressions=[replies.suppression(entry) for entry in found], next_page_token=token
        )

    async def CreateSuppression(  # noqa: N802
        self, request: notification_service_pb2.CreateSuppressionRequest, _context: Context
    ) -> notification_service_pb2.CreateSuppressionResponse:
        command = SuppressAddress(str(MailAddress.parse(request.email)), request.reason)
        ids = self._dependencies.ids

        async def suppress(uow: UnitOfWork) -> notification_service_pb2.CreateSuppressionResponse:
            entry = await suppress_address(command, uow, ids=ids, now=await uow.clock())
            return notification_service_pb2.CreateSuppressionResponse(
                suppression=replies.suppression(entry)
            )

        reply = notification_service_pb2.CreateSuppressionResponse
        return await self.run_once(request, reply, suppress)

    async def DeleteSuppression(  # noqa: N802
        self, request: notification_service_pb2.DeleteSuppressionRequest, _context: Context
    ) -> notification_service_pb2.DeleteSuppressionResponse:
        command = RestoreAddress(str(MailAddress.parse(request.email)))

        async def restore(uow: UnitOfWork) -> notification_service_pb2.DeleteSuppressionResponse:
            await restore_address(command, uow)
            return notification_service_pb2.DeleteSuppressionResponse()

        reply = notification_service_pb2.DeleteSuppressionResponse
        return await self.run_once(request, reply, restore)

    async def GetMailPreferences(  # noqa: N802
        self, request: notification_service_pb2.GetMailPreferencesRequest, _context: Context
    ) -> notification_service_pb2.GetMailPreferencesResponse:
        _check_own(request.customer_id)
        async with self._database.read_only() as uow:
            found = await uow.preferences.get(request.customer_id)
        return notification_service_pb2.GetMailPreferencesResponse(
            preferences=replies.preferences(found)
        )

    async def UpdateMailPreferences(  # noqa: N802
        self, request: notification_service_pb2.UpdateMailPreferencesRequest, _context: Context
    ) -> notification_service_pb2.UpdateMailPreferencesResponse:
        _check_own(request.customer_id)
        wanted = MailPreferences(request.customer_id, request.feedback_declined)

        async def save(uow: UnitOfWork) -> notification_service_pb2.UpdateMailPreferencesResponse:
            await uow.preferences.save(wanted)
            return notification_service_pb2.UpdateMailPreferencesResponse(
                preferences=replies.preferences(wanted)
            )

        reply = notification_service_pb2.UpdateMailPreferencesResponse
        return await self.run_once(request, reply, save)


def _check_own(customer_id: str) -> None:
    """Raises NotTheirs."""
    if current_caller().customer not in {None, customer_id}:
        raise NotTheirs(f"{customer_id} is not the caller")
