"""The gRPC server of a service: options, health, reflection and the call interceptor."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2  # noqa: F401  registers the details of errors for reflection
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from runtime.auth.authentication import KeySet, TokenVerifier
from runtime.auth.authorization import CallAuthorizer
from runtime.rpc.errors import ErrorMapper
from runtime.rpc.health import HealthMonitor
from runtime.rpc.interceptor import CallInterceptor
from runtime.rpc.tls import server_credentials
from runtime.settings import ServiceSettings

_MAX_MESSAGE_BYTES = 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 4 * _MAX_MESSAGE_BYTES),
    # Clients may ping idle connections this often; both sides must agree.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Connections are closed regularly, with grace, so that clients find new replicas.
    ("grpc.max_connection_age_ms", 30 * 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 30 * 1000),
    # Otherwise two processes could listen on one port and share its calls unnoticed.
    ("grpc.so_reuseport", 0),
)


class PortTaken(OSError):
    """The server cannot listen on its address."""


@dataclass(frozen=True, slots=True)
class ServiceRegistration:
    """A gRPC service: its full name, its generated registration function, its servicer."""

    name: str
    register: Callable[[Any, grpc.aio.Server], None]
    servicer: Any


class GrpcServer:
    """A service's gRPC server."""

    def __init__(
        self,
        config: ServiceSettings,
        audience: str,
        registrations: Sequence[ServiceRegistration],
        errors: ErrorMapper,
        health: HealthMonitor,
        logged_fields: Sequence[str] = (),
    ) -> None:
        """Raises KeysUnreadable, MethodWithoutPolicy.

        `audience` is the service's name in tokens; `logged_fields` as in CallInterceptor.
        """
        self._listen, self._health = config.listen, health
        self._monitor: asyncio.Task[None] | None = None
        self._services = [registration.name for registration in registrations]
        verifier = TokenVerifier(KeySet(config.auth_keys), audience)
        authorizer = CallAuthorizer(verifier, self._services)
        self._config = config
        self._server = grpc.aio.server(
            interceptors=[
                CallInterceptor(
                    authorizer,
                    errors,
                    config.max_call_seconds,
                    config.max_concurrent_calls,
                    logged_fields,
                )
            ],
            options=_OPTIONS,
        )
        for registration in registrations:
            registration.register(registration.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, self._server)
        names = [*self._services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)

    async def start(self) -> int:
        """Listens; returns the port. Raises PortTaken."""
        try:
            port = self._add_port()
        except RuntimeError as error:
            raise PortTaken(f"cannot listen on {self._listen}: {error}") from error
        self._health.start(self._services)
        await self._server.start()
        self._monitor = asyncio.create_task(self._health.run(self._services))
        return port

    def _add_port(self) -> int:
        certificate, key = self._config.tls_certificate, self._config.tls_key
        if certificate is None or key is None:
            return self._server.add_insecure_port(self._listen)
        return self._server.add_secure_port(self._listen, server_credentials(certificate, key))

    async def stop(self, grace_seconds: float) -> None:
        """Reports NOT_SERVING, refuses new calls, and waits for calls in flight."""
        if self._monitor:
            self._monitor.cancel()
        self._health.shut_down()
        await self._server.stop(grace_seconds)
