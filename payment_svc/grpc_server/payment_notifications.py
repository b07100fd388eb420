"""payment.v1.PaymentService: notifications of the payment provider."""

from payment.v1 import payment_service_pb2
from payment_svc.grpc_server.dependencies import PaymentServicerBase
from payment_svc.messages import replies
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.provider_notifications import DismissNotification, dismiss_notification
from runtime.auth.authentication import current_caller
from runtime.clock import utc_now
from runtime.rpc.call_layer import Context
from runtime.rpc.errors import InvalidRequest
from runtime.rpc.pagination import Page
from runtime.violations import Violation
from shared_model.display_name import is_blank

_NO_REASON = Violation("reason", "is required", "为必填项")


class PaymentNotificationServicer(PaymentServicerBase):
    """Notification methods of payment.v1.PaymentService."""

    async def IngestPaymentNotification(  # noqa: N802
        self, request: payment_service_pb2.IngestPaymentNotificationRequest, _context: Context
    ) -> payment_service_pb2.IngestPaymentNotificationResponse:
        notification, payment = await self._shield.run(
            self._dependencies.webhooks.ingest(request.body, request.headers)
        )
        return payment_service_pb2.IngestPaymentNotificationResponse(
            payment=replies.payment(payment) if payment else None,
            notification=replies.payment_notification(notification),
        )

    async def ListPaymentNotifications(  # noqa: N802
        self, request: payment_service_pb2.ListPaymentNotificationsRequest, _context: Context
    ) -> payment_service_pb2.ListPaymentNotificationsResponse:
        page = Page.of(request, "pnt")
        status = payment_service_pb2.PaymentNotificationStatus.Name(request.status)
        status = status.removeprefix("PAYMENT_NOTIFICATION_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            notifications = await uow.notifications.page(
                status, page.after, page.limit, unresolved_only=request.unresolved_only
            )
        notifications, token = page.split(notifications, "provider_notification_id")
        return payment_service_pb2.ListPaymentNotificationsResponse(
            notifications=[replies.payment_notification(entry) for entry in notifications],
            next_page_token=token,
        )

    async def DismissPaymentNotification(  # noqa: N802
        self, request: payment_service_pb2.DismissPaymentNotificationRequest, _context: Context
    ) -> payment_service_pb2.DismissPaymentNotificationResponse:
        if is_blank(request.reason):
            raise InvalidRequest([_NO_REASON])
        command = DismissNotification(
            request.payment_notification_id, current_caller().scope, request.reason
        )
        reply = payment_service_pb2.DismissPaymentNotificationResponse

        async def dismiss(
            uow: UnitOfWork,
        ) -> payment_service_pb2.DismissPaymentNotificationResponse:
            dismissed = await dismiss_notification(command, uow, clock=utc_now)
            return reply(notification=replies.payment_notification(dismissed))

        return await self.run_once(request, reply, dismiss)
