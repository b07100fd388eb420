"""notification's calls: request → query → reply. Errors get their status by the table below."""

from typing import Any

import grpc

from notification.v1 import notification_service_pb2, notification_service_pb2_grpc
from notification_svc import messages
from notification_svc.domain import NotificationNotFound
from notification_svc.storage.unit_of_work import Database
from runtime.calls import Context
from runtime.errors import Answer, ErrorTable
from runtime.grpc_server import Servicer
from runtime.identity import current_caller
from runtime.paging import cut, last_id, size_of

ERRORS: ErrorTable = {
    NotificationNotFound: Answer(grpc.StatusCode.NOT_FOUND, "NOTIFICATION_NOT_FOUND", "通知不存在"),
}


class NotificationServicer(notification_service_pb2_grpc.NotificationServiceServicer):
    """notification.v1.NotificationService; its contract says what each call does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetNotification(  # noqa: N802
        self, request: notification_service_pb2.GetNotificationRequest, _context: Context
    ) -> notification_service_pb2.GetNotificationResponse:
        async with self._database.reading() as uow:
            found = await uow.notifications.get(
                request.notification_id, lock=False, only=current_caller().customer
            )
        return notification_service_pb2.GetNotificationResponse(
            notification=messages.notification(found)
        )

    async def ListNotifications(  # noqa: N802
        self, request: notification_service_pb2.ListNotificationsRequest, _context: Context
    ) -> notification_service_pb2.ListNotificationsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token)
        status = notification_service_pb2.NotificationStatus.Name(request.status)
        wanted = status.removeprefix("NOTIFICATION_STATUS_") if request.status else ""
        async with self._database.reading() as uow:
            found = await uow.notifications.page(
                request.order_id, wanted, last, size + 1, only=current_caller().customer
            )
        page, token = cut(found, size, "notification_id")
        return notification_service_pb2.ListNotificationsResponse(
            notifications=[messages.notification(one) for one in page], next_page_token=token
        )


def registration(database: Database) -> Servicer:
    """What notification serves."""
    register: Any = notification_service_pb2_grpc.add_NotificationServiceServicer_to_server
    name = "notification.v1.NotificationService"
    return Servicer(name, register, NotificationServicer(database))
