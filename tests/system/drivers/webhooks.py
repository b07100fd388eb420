"""Webhooks: calls payment as the provider does to deliver a notification."""

import time
from collections.abc import Mapping

from payment.v1 import payment_service_pb2, payment_service_pb2_grpc
from sandbox_provider.webhooks import sign
from tests.system.drivers.running_stack import RunningStack

Reply = payment_service_pb2.IngestPaymentNotificationResponse


async def deliver_notification(
    stack: RunningStack, body: bytes, headers: Mapping[str, str]
) -> Reply:
    """Delivers a notification with these headers, among which is its signature."""
    request = payment_service_pb2.IngestPaymentNotificationRequest(body=body, headers=headers)
    async with stack.channel("payment", "IngestPaymentNotification") as channel:
        stub = payment_service_pb2_grpc.PaymentServiceStub(channel)
        return await stub.IngestPaymentNotification(request)


async def deliver_signed_notification(stack: RunningStack, body: bytes) -> Reply:
    """Delivers a notification with the provider's signature of this moment."""
    secret = stack.devstack.provider_secret.encode()
    return await deliver_notification(stack, body, sign(body, secret, time.time()))
