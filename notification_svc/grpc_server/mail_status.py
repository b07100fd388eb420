"""notification.v1.NotificationService: the state of mailing."""

from notification.v1 import notification_service_pb2
from notification_svc.grpc_server.dependencies import NotificationServicerBase
from notification_svc.messages import replies
from runtime.rpc.call_layer import Context


class MailStatusServicer(NotificationServicerBase):
    """GetMailStatus."""

    async def GetMailStatus(  # noqa: N802
        self, _request: notification_service_pb2.GetMailStatusRequest, _context: Context
    ) -> notification_service_pb2.GetMailStatusResponse:
        async with self._database.read_only() as uow:
            status = await uow.mail_status.read()
        return replies.mail_status(status, self._dependencies.mail_server_error())
