"""Typed stubs of all services over one channel each."""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

import grpc

from clients.channel import DEFAULT_TIMEOUT, open_channel
from clients.errors import AddressUnknown
from clients.service import Service
from interview.v1 import interview_service_pb2_grpc
from notification.v1 import notification_service_pb2_grpc
from ops.v1 import ops_service_pb2_grpc
from payment.v1 import access_code_service_pb2_grpc, payment_service_pb2_grpc


class Clients:
    """Stubs of the services, to be used in `async with`.

    The stubs of a service that has no address raise AddressUnknown.
    """

    def __init__(self, channels: Mapping[Service, grpc.aio.Channel]) -> None:
        self._channels = channels
        self.ops: Mapping[str, ops_service_pb2_grpc.OpsServiceAsyncStub] = _OpsStubs(
            (service, ops_service_pb2_grpc.OpsServiceStub(channel))
            for service, channel in channels.items()
        )

    @cached_property
    def payments(self) -> "payment_service_pb2_grpc.PaymentServiceAsyncStub":
        return payment_service_pb2_grpc.PaymentServiceStub(self._channel(Service.PAYMENT))

    @cached_property
    def codes(self) -> "access_code_service_pb2_grpc.AccessCodeServiceAsyncStub":
        return access_code_service_pb2_grpc.AccessCodeServiceStub(self._channel(Service.PAYMENT))

    @cached_property
    def interviews(self) -> "interview_service_pb2_grpc.InterviewServiceAsyncStub":
        return interview_service_pb2_grpc.InterviewServiceStub(self._channel(Service.INTERVIEW))

    @cached_property
    def notifications(self) -> "notification_service_pb2_grpc.NotificationServiceAsyncStub":
        channel = self._channel(Service.NOTIFICATION)
        return notification_service_pb2_grpc.NotificationServiceStub(channel)

    def _channel(self, service: Service) -> grpc.aio.Channel:
        if service not in self._channels:
            raise AddressUnknown(service)
        return self._channels[service]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))


class _OpsStubs(dict[str, "ops_service_pb2_grpc.OpsServiceAsyncStub"]):
    def __missing__(self, service: str) -> "ops_service_pb2_grpc.OpsServiceAsyncStub":
        raise AddressUnknown(service)


def connect(
    addresses: Mapping[Service, str],
    *,
    token: str = "",
    tls_roots: Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    retry: bool = True,
) -> Clients:
    """Clients of the services that have an address (`host:port`).

    See `open_channel` for the other arguments. Raises CertificateUnreadable.
    """
    return Clients(
        {
            service: open_channel(
                address,
                name=service,
                token=token,
                tls_roots=tls_roots,
                timeout=timeout,
                retry=retry,
            )
            for service, address in addresses.items()
        }
    )
