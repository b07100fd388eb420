"""The calls of payment.v1.PaymentService about the payment provider's notifications."""

from payment.v1 import payment_service_pb2
from payment_svc.messages import replies
from payment_svc.storage.unit_of_work import Database
from payment_svc.workflows import WebhookIntake
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of
from runtime.rpc.shielding import CancellationShield


class NotificationCalls:
    """A part of PaymentServicer."""

    _database: Database
    _intake: WebhookIntake
    _shield: CancellationShield

    async def IngestPaymentNotification(  # noqa: N802
        self, request: payment_service_pb2.IngestPaymentNotificationRequest, _context: Context
    ) -> payment_service_pb2.IngestPaymentNotificationResponse:
        notification, payment = await self._shield.run(
            self._intake.ingest(request.body, request.headers)
        )
        return payment_service_pb2.IngestPaymentNotificationResponse(
            payment=replies.payment(payment) if payment else None,
            notification=replies.payment_notification(notification),
        )

    async def ListPaymentNotifications(  # noqa: N802
        self, request: payment_service_pb2.ListPaymentNotificationsRequest, _context: Context
    ) -> payment_service_pb2.ListPaymentNotificationsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "pnt")
        status = payment_service_pb2.PaymentNotificationStatus.Name(request.status)
        wanted = status.removeprefix("PAYMENT_NOTIFICATION_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            notifications = await uow.notifications.page(wanted, last, size + 1)
        page, token = cut(notifications, size, "payment_notification_id")
        return payment_service_pb2.ListPaymentNotificationsResponse(
            notifications=[replies.payment_notification(one) for one in page],
            next_page_token=token,
        )
