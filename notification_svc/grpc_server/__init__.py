"""notification's calls: request → command → reply."""

from typing import Any

from notification.v1 import notification_service_pb2_grpc
from notification_svc.grpc_server.errors import ERRORS
from notification_svc.grpc_server.notifications import NotificationServicer
from runtime.rpc.server import Servicer

__all__ = ["ERRORS", "NotificationServicer", "registration"]


def registration(servicer: NotificationServicer) -> Servicer:
    """What notification serves."""
    register: Any = notification_service_pb2_grpc.add_NotificationServiceServicer_to_server
    return Servicer("notification.v1.NotificationService", register, servicer)
