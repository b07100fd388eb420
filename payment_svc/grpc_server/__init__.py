"""payment's calls: request → command → reply."""

from typing import Any

from payment.v1 import access_code_service_pb2_grpc, payment_service_pb2_grpc
from payment_svc.grpc_server.access_codes import AccessCodeServicer
from payment_svc.grpc_server.errors import ERRORS
from payment_svc.grpc_server.payments import PaymentServicer
from runtime.rpc.server import Servicer

__all__ = ["ERRORS", "AccessCodeServicer", "PaymentServicer", "servicers"]


def servicers(payments: PaymentServicer, codes: AccessCodeServicer) -> list[Servicer]:
    """What payment serves."""
    register_payments: Any = payment_service_pb2_grpc.add_PaymentServiceServicer_to_server
    register_codes: Any = access_code_service_pb2_grpc.add_AccessCodeServiceServicer_to_server
    return [
        Servicer("payment.v1.PaymentService", register_payments, payments),
        Servicer("payment.v1.AccessCodeService", register_codes, codes),
    ]
