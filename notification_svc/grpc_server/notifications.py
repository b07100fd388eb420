"""notification.v1.NotificationService, mails: request → command → reply."""

from notification.v1 import notification_service_pb2
from notification_svc.grpc_server.recipients import RecipientsServicer
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.samples import EventTypeWithoutMail, sample
from notification_svc.messages import replies
from notification_svc.storage.unit_of_work import Database
from notification_svc.use_cases.ports import NewIdentity
from notification_svc.use_cases.queueing import ResendNotification, resend_notification
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import IdempotencyStore
from runtime.rpc.errors import InvalidRequest
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of


class NotificationServicer(RecipientsServicer):
    """notification.v1.NotificationService; its contract says what each call does."""

    def __init__(
        self,
        database: Database,
        identity: NewIdentity,
        letters: MailComposer,
        replies: IdempotencyStore,
    ) -> None:
        super().__init__(database, identity, replies)
        self._letters = letters

    async def GetNotification(  # noqa: N802
        self, request: notification_service_pb2.GetNotificationRequest, _context: Context
    ) -> notification_service_pb2.GetNotificationResponse:
        async with self._database.read_only() as uow:
            found = await uow.notifications.get(
                request.notification_id, lock=False, only=current_caller().customer
            )
        return notification_service_pb2.GetNotificationResponse(
            notification=replies.notification(found)
        )

    async def ListNotifications(  # noqa: N802
        self, request: notification_service_pb2.ListNotificationsRequest, _context: Context
    ) -> notification_service_pb2.ListNotificationsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "ntf")
        status = notification_service_pb2.NotificationStatus.Name(request.status)
        wanted = status.removeprefix("NOTIFICATION_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            found = await uow.notifications.page(
                request.order_id, wanted, last, size + 1, only=current_caller().customer
            )
        page, token = cut(found, size, "notification_id")
        return notification_service_pb2.ListNotificationsResponse(
            notifications=[replies.notification(one) for one in page], next_page_token=token
        )

    async def ResendNotification(  # noqa: N802
        self, request: notification_service_pb2.ResendNotificationRequest, _context: Context
    ) -> notification_service_pb2.ResendNotificationResponse:
        reply = notification_service_pb2.ResendNotificationResponse
        command = ResendNotification(request.notification_id)
        async with self._database.transaction() as uow:

            async def work() -> notification_service_pb2.ResendNotificationResponse:
                now = await uow.clock()
                again = await resend_notification(command, uow, identity=self._identity, now=now)
                return reply(notification=replies.notification(again))

            return await self._once(uow, request, reply, work)

    async def PreviewEmail(  # noqa: N802
        self, request: notification_service_pb2.PreviewEmailRequest, _context: Context
    ) -> notification_service_pb2.PreviewEmailResponse:
        try:
            letter = self._letters.write(
                sample(request.event_type, request.language_code or "zh-CN")
            )
        except EventTypeWithoutMail as error:
            fault = ("event_type", str(error))
            raise InvalidRequest([fault], "EVENT_TYPE_WITHOUT_MAIL") from error
        return notification_service_pb2.PreviewEmailResponse(
            subject=letter.subject, text=letter.text, html=letter.html
        )
