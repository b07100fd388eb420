"""The gRPC server of a process: options, health, reflection and the call interceptor."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runtime.addresses import PortTaken
from runtime.auth.authentication import TokenVerifier
from runtime.auth.authorization import CallAuthorizer
from runtime.auth.identity_providers import TrustedIssuers
from runtime.metrics.calls import CallMetrics
from runtime.rpc.call_layer import CallLayer
from runtime.rpc.concurrency_limits import CallLimiter, LoopDelay
from runtime.rpc.errors import ErrorMapper
from runtime.rpc.handler_table import HandlerTable
from runtime.rpc.health import HealthMonitor
from runtime.rpc.health_servicer import HealthServicer
from runtime.rpc.reflection import add_reflection
from runtime.rpc.tls import server_credentials
from runtime.settings import CallSettings, ServiceSettings

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# Probes are answered also while calls are refused.
_OWN_QUEUES = frozenset({f"/{_HEALTH}/Check"})
_MAX_MESSAGE_BYTES = 1024 * 1024
# A connection's streams beside its calls: health and reflection.
_MAX_PUBLIC_STREAMS = 100
_AGE_GRACE_SECONDS = 5.0
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 4 * _MAX_MESSAGE_BYTES),
    # Headers with the token; between the two sizes gRPC refuses calls at random.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    # Clients may ping this often, also between calls. By default the third ping within two hours
    # without a call ends the connection.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Calls that wait to be accepted: beyond the first number they are refused with a probability
    # that grows to 1 at the second. A longer queue would hold calls that are answered too late.
    ("grpc.server.max_pending_requests", 128),
    ("grpc.server.max_pending_requests_hard_limit", 160),
)


@dataclass(frozen=True, slots=True)
class ServiceRegistration:
    """A gRPC service: its full name, its generated registration function, its servicer."""

    name: str
    register: Callable[[Any, Any], None]
    servicer: Any


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of calls: the duration of each, the number in progress, the age of a connection."""

    seconds: float
    concurrent: int = 1000
    connection_seconds: float = 300.0


def create_server(
    verifier: TokenVerifier,
    registrations: Sequence[ServiceRegistration],
    errors: ErrorMapper,
    health: HealthServicer,
    metrics: CallMetrics,
    limits: CallLimits,
    logged_fields: Sequence[str] = (),
    *,
    reuse_port: bool = False,
    loop_delay: Callable[[], float] = lambda: 0.0,
) -> grpc.aio.Server:
    """A server of these services, of health and of reflection, that does not listen yet.

    `logged_fields` as in CallLayer, `loop_delay` as in CallLimiter; with `reuse_port`, other
    processes may listen on its address too. Raises MethodWithoutPolicy.
    """
    names = [registration.name for registration in registrations]
    authorizer = CallAuthorizer(verifier, names)
    limiter = CallLimiter(limits.concurrent, loop_delay)
    layer = CallLayer(authorizer, errors, limits.seconds, limiter, metrics, logged_fields)
    handlers = HandlerTable(layer.wrap)
    for registration in registrations:
        registration.register(registration.servicer, handlers)
    add_health: Any = health_pb2_grpc.add_HealthServicer_to_server
    add_health(health, handlers)
    add_reflection([*names, _HEALTH], handlers)
    server = grpc.aio.server(options=server_options(limits, reuse_port=reuse_port))
    handlers.install(server, own_queues=_OWN_QUEUES)
    return server


def server_options(limits: CallLimits, *, reuse_port: bool = False) -> list[tuple[str, int]]:
    """The options of a gRPC server with these limits."""
    return [
        *_OPTIONS,
        # By default two processes can listen on one port and share its calls unnoticed.
        ("grpc.so_reuseport", int(reuse_port)),
        # Connections are closed regularly, a tenth earlier or later, so that clients find new
        # replicas. Their calls finish.
        ("grpc.max_connection_age_ms", round(limits.connection_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round((limits.seconds + _AGE_GRACE_SECONDS) * 1000)),
        # Bounds the replies that are kept for a client that does not read them.
        ("grpc.max_concurrent_streams", limits.concurrent + _MAX_PUBLIC_STREAMS),
    ]


def add_port(server: grpc.aio.Server, address: str, config: CallSettings) -> int:
    """Makes a server listen on `host:port`, with the certificate of the settings; returns the port.

    Raises PortTaken, CertificateUnreadable.
    """
    certificate, key = config.tls_certificate, config.tls_key
    try:
        if certificate is None or key is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, server_credentials(certificate, key))
    except RuntimeError as error:
        raise PortTaken(f"cannot listen on {address}: {error}") from error


class GrpcServer:
    """A service's gRPC server, on one address or on two.

    Each address has its own queue of calls that wait to be accepted: however many calls arrive at
    one, those at the other are accepted in turn with them.
    """

    def __init__(
        self,
        config: ServiceSettings,
        audience: str,
        registrations: Sequence[ServiceRegistration],
        errors: ErrorMapper,
        health: HealthMonitor,
        metrics: CallMetrics,
        logged_fields: Sequence[str] = (),
    ) -> None:
        """Raises KeysUnreadable, MethodWithoutPolicy.

        `audience` is the service's name in tokens; `logged_fields` as in CallLayer.
        """
        self._config, self._health = config, health
        self._background: list[asyncio.Task[None]] = []
        self._loop_delay = LoopDelay()
        self._keys = TrustedIssuers(config.auth_keys, config.auth_issuers)
        self._services = [registration.name for registration in registrations]
        verifier = TokenVerifier(self._keys, audience, config.max_token_lifetime())
        limits = CallLimits(
            config.max_call_seconds,
            config.max_concurrent_calls,
            config.max_connection_age_seconds,
        )
        self._servers = [
            (
                address,
                create_server(
                    verifier,
                    registrations,
                    errors,
                    health.servicer,
                    metrics,
                    limits,
                    logged_fields,
                    reuse_port=config.reuse_port,
                    loop_delay=lambda: self._loop_delay.seconds,
                ),
            )
            for address in (config.listen, config.internal_listen)
            if address
        ]

    async def start(self) -> list[int]:
        """Listens; returns the ports of LISTEN and, if set, of INTERNAL_LISTEN.

        Raises PortTaken, CertificateUnreadable.
        """
        ports = [add_port(server, at, self._config) for at, server in self._servers]
        self._health.start(self._services)
        for _, server in self._servers:
            await server.start()
        background = (
            self._health.run(self._services),
            self._keys.run(),
            self._loop_delay.measure(),
        )
        self._background = [asyncio.create_task(work) for work in background]
        return ports

    async def stop(self, grace_seconds: float) -> None:
        """Reports NOT_SERVING, refuses new calls, and waits for calls in flight."""
        for task in self._background:
            task.cancel()
        self._health.shut_down()
        await asyncio.gather(*(server.stop(grace_seconds) for _, server in self._servers))
