"""notification.v1.NotificationService: mails; recipients and the status have files of their own."""

from notification.v1 import notification_service_pb2, notification_service_pb2_grpc
from notification_svc.grpc_server.mail_status import MailStatusServicer
from notification_svc.grpc_server.recipients import RecipientsServicer
from notification_svc.mail.samples import EventTypeWithoutMail, sample
from notification_svc.messages import replies
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases.queueing import (
    DismissNotification,
    ResendNotification,
    dismiss_notification,
    resend_notification,
)
from runtime.auth.authentication import current_caller
from runtime.rpc.call_layer import Context
from runtime.rpc.errors import InvalidRequest
from runtime.rpc.pagination import Page
from runtime.violations import Violation


class NotificationServicer(
    RecipientsServicer,
    MailStatusServicer,
    notification_service_pb2_grpc.NotificationServiceServicer,
):
    """notification.v1.NotificationService; its contract describes each method."""

    async def GetNotification(  # noqa: N802
        self, request: notification_service_pb2.GetNotificationRequest, _context: Context
    ) -> notification_service_pb2.GetNotificationResponse:
        async with self._database.read_only() as uow:
            found = await uow.notifications.get(
                request.notification_id, lock=False, customer_id=current_caller().customer
            )
        return notification_service_pb2.GetNotificationResponse(
            notification=replies.notification(found)
        )

    async def ListNotifications(  # noqa: N802
        self, request: notification_service_pb2.ListNotificationsRequest, _context: Context
    ) -> notification_service_pb2.ListNotificationsResponse:
        page = Page.of(request, "ntf")
        status = notification_service_pb2.NotificationStatus.Name(request.status)
        status_filter = status.removeprefix("NOTIFICATION_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            found = await uow.notifications.page(
                request.order_id,
                status_filter,
                page.after,
                page.limit,
                customer_id=current_caller().customer,
                unresolved_only=request.unresolved_only,
            )
        found, token = page.split(found, "notification_id")
        return notification_service_pb2.ListNotificationsResponse(
            notifications=[replies.notification(entry) for entry in found], next_page_token=token
        )

    async def ResendNotification(  # noqa: N802
        self, request: notification_service_pb2.ResendNotificationRequest, _context: Context
    ) -> notification_service_pb2.ResendNotificationResponse:
        command = ResendNotification(request.notification_id)
        ids = self._dependencies.ids

        async def resend(uow: UnitOfWork) -> notification_service_pb2.ResendNotificationResponse:
            now = await uow.clock()
            resent = await resend_notification(command, uow, ids=ids, now=now)
            return notification_service_pb2.ResendNotificationResponse(
                notification=replies.notification(resent)
            )

        reply = await self.run_once(
            request, notification_service_pb2.ResendNotificationResponse, resend
        )
        self._dependencies.wake_mail_sender()
        return reply

    async def DismissNotification(  # noqa: N802
        self, request: notification_service_pb2.DismissNotificationRequest, _context: Context
    ) -> notification_service_pb2.DismissNotificationResponse:
        command = DismissNotification(request.notification_id)

        async def dismiss(uow: UnitOfWork) -> notification_service_pb2.DismissNotificationResponse:
            dismissed = await dismiss_notification(command, uow, now=await uow.clock())
            return notification_service_pb2.DismissNotificationResponse(
                notification=replies.notification(dismissed)
            )

        reply = notification_service_pb2.DismissNotificationResponse
        return await self.run_once(request, reply, dismiss)

    async def PreviewEmail(  # noqa: N802
        self, request: notification_service_pb2.PreviewEmailRequest, _context: Context
    ) -> notification_service_pb2.PreviewEmailResponse:
        try:
            mail = self._dependencies.composer.render(
                sample(request.event_type, request.language_code or "zh-CN")
            )
        except EventTypeWithoutMail as error:
            fault = Violation("event_type", str(error), "该事件类型没有对应的邮件")
            raise InvalidRequest([fault], "EVENT_TYPE_WITHOUT_MAIL") from error
        return notification_service_pb2.PreviewEmailResponse(
            subject=mail.subject, text=mail.text, html=mail.html
        )
