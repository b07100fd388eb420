"""Stubs for a running stack's services."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import grpc

from devstack.addresses import Addresses
from interview.v1 import interview_service_pb2_grpc
from notification.v1 import notification_service_pb2_grpc
from ops.v1 import ops_service_pb2_grpc
from payment.v1 import access_code_service_pb2_grpc, payment_service_pb2_grpc


class Clients:
    """One channel to each service, open inside `async with`."""

    def __init__(self, addresses: Addresses) -> None:
        self._channels = {
            name: grpc.aio.insecure_channel(
                addresses.address(name), options=[("grpc.max_reconnect_backoff_ms", 500)]
            )
            for name in ("payment", "interview", "notification")
        }
        payment, interview, notification = self._channels.values()
        self.payments = payment_service_pb2_grpc.PaymentServiceStub(payment)
        self.codes = access_code_service_pb2_grpc.AccessCodeServiceStub(payment)
        self.interviews = interview_service_pb2_grpc.InterviewServiceStub(interview)
        self.notifications = notification_service_pb2_grpc.NotificationServiceStub(notification)
        self.ops = {
            name: ops_service_pb2_grpc.OpsServiceStub(channel)
            for name, channel in self._channels.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        async with AsyncExitStack() as stack:
            for channel in self._channels.values():
                stack.push_async_callback(channel.close)
