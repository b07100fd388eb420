"""The typed client of the three services: token, deadline, retry and error mapping.

    addresses = {Service.PAYMENT: "127.0.0.1:50051"}
    async with connect(addresses, token=token) as services:
        products = await services.payments.ListProducts(ListProductsRequest())

Every unary call carries the token and has a deadline. It is retried while the service refuses it:
UNAVAILABLE, RESOURCE_EXHAUSTED, CANCELLED. That is safe: reads change nothing, and mutations are
idempotent by `request_id`. A call that fails raises CallFailed, which is a `grpc.aio.AioRpcError`
with the service's reason.
"""

from clients.channel import open_channel
from clients.connection import Clients, connect
from clients.errors import (
    AddressUnknown,
    CallFailed,
    ClientError,
    FieldViolation,
    error_details,
    reason_of,
)
from clients.health import serving_status
from clients.pagination import pages
from clients.service import Service

__all__ = [
    "AddressUnknown",
    "CallFailed",
    "ClientError",
    "Clients",
    "FieldViolation",
    "Service",
    "connect",
    "error_details",
    "open_channel",
    "pages",
    "reason_of",
    "serving_status",
]
