"""Stubs for a running stack's services."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import grpc

from devstack.addresses import Addresses
from interview.v1 import interview_service_pb2_grpc
from notification.v1 import notification_service_pb2_grpc
from ops.v1 import ops_service_pb2_grpc
from payment.v1 import access_code_service_pb2_grpc, payment_service_pb2_grpc
from runtime.auth.authentication import Role


class Bearer(grpc.aio.UnaryUnaryClientInterceptor):
    """Says with each call who makes it."""

    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        details = client_call_details
        changed = grpc.aio.ClientCallDetails(
            details.method,
            details.timeout,
            grpc.aio.Metadata(*(details.metadata or ()), self._header),
            details.credentials,
            details.wait_for_ready,
        )
        return await continuation(changed, request)


class Clients:
    """One channel to each service, open inside `async with`."""

    def __init__(self, addresses: Addresses, token: str = "") -> None:
        """`token` says who calls; without one, a shop that may also operate."""
        token = token or addresses.keys.token("devstack", Role.STOREFRONT, Role.OPERATOR)
        self._channels = {
            name: grpc.aio.insecure_channel(
                addresses.address(name),
                options=[("grpc.max_reconnect_backoff_ms", 500)],
                interceptors=[Bearer(token)],
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
