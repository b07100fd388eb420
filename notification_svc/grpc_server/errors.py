"""The gRPC status of each of notification's errors."""

import grpc

from notification_svc.domain.notifications import (
    NotificationNotEnded,
    NotificationNotFailed,
    NotificationNotFound,
)
from notification_svc.domain.suppressions import SuppressionNotFound
from runtime.database.idempotency import RequestIdReused
from runtime.rpc.errors import (
    REQUEST_ID_REUSED,
    ErrorSpec,
    ErrorTable,
    FieldSpec,
    precondition,
)
from shared_model.mail_address import MalformedMailAddress


class NotTheirs(Exception):
    """A customer may access only their own preferences."""


_Code = grpc.StatusCode
ERRORS: ErrorTable = {
    NotificationNotFound: ErrorSpec(_Code.NOT_FOUND, "NOTIFICATION_NOT_FOUND", "通知不存在"),
    NotificationNotEnded: ErrorSpec(
        _Code.FAILED_PRECONDITION,
        "NOTIFICATION_NOT_ENDED",
        "通知尚未结束,不能重新发送",
        precondition("NOTIFICATION_STATUS"),
    ),
    MalformedMailAddress: FieldSpec("email", "INVALID_REQUEST"),
    NotificationNotFailed: ErrorSpec(
        _Code.FAILED_PRECONDITION,
        "NOTIFICATION_NOT_FAILED",
        "通知没有发送失败,不能标记为已处理",
        precondition("NOTIFICATION_STATUS"),
    ),
    SuppressionNotFound: ErrorSpec(
        _Code.NOT_FOUND, "SUPPRESSION_NOT_FOUND", "该地址不在停发名单中"
    ),
    NotTheirs: ErrorSpec(
        _Code.PERMISSION_DENIED, "NOT_YOUR_CUSTOMER_ID", "只能查看和修改自己的设置"
    ),
    RequestIdReused: REQUEST_ID_REUSED,
}
