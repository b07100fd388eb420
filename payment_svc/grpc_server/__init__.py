"""payment's servicers: they convert requests to commands and results to replies."""

from collections.abc import Sequence
from typing import Any

from payment.v1 import access_code_service_pb2_grpc, payment_service_pb2_grpc
from payment_svc.grpc_server.access_codes import AccessCodeServicer
from payment_svc.grpc_server.dependencies import Dependencies
from payment_svc.grpc_server.errors import ERRORS
from payment_svc.grpc_server.payments import PaymentServicer
from runtime.rpc.server import ServiceRegistration

__all__ = ["ERRORS", "LOGGED_FIELDS", "registrations"]

LOGGED_FIELDS = ("order_id", "payment_id", "access_code_id")


def registrations(dependencies: Dependencies) -> Sequence[ServiceRegistration]:
    """The gRPC services of payment."""
    add_payments: Any = payment_service_pb2_grpc.add_PaymentServiceServicer_to_server
    add_codes: Any = access_code_service_pb2_grpc.add_AccessCodeServiceServicer_to_server
    return [
        ServiceRegistration(
            "payment.v1.PaymentService", add_payments, PaymentServicer(dependencies)
        ),
        ServiceRegistration(
            "payment.v1.AccessCodeService", add_codes, AccessCodeServicer(dependencies)
        ),
    ]
