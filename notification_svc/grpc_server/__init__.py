"""notification's gRPC service: a request becomes a command, its result a reply."""

from collections.abc import Sequence
from typing import Any

from notification.v1 import notification_service_pb2_grpc
from notification_svc.grpc_server.dependencies import Dependencies
from notification_svc.grpc_server.errors import ERRORS
from notification_svc.grpc_server.notifications import NotificationServicer
from runtime.rpc.server import ServiceRegistration

__all__ = ["ERRORS", "LOGGED_FIELDS", "NotificationServicer", "registrations"]

LOGGED_FIELDS = ("order_id", "notification_id")


def registrations(dependencies: Dependencies) -> Sequence[ServiceRegistration]:
    """The service that notification serves."""
    add: Any = notification_service_pb2_grpc.add_NotificationServiceServicer_to_server
    servicer = NotificationServicer(dependencies)
    return [ServiceRegistration("notification.v1.NotificationService", add, servicer)]
