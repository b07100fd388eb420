"""Calls to other services: as ourselves, within the time that is left, as part of the trace."""

from collections.abc import Callable
from typing import Any

import grpc

from eventbus.trace_context import traceparent_for
from runtime.auth.authentication import ServiceIdentity, Signer
from runtime.rpc.deadlines import seconds_left
from runtime.rpc.tls import channel_credentials
from runtime.settings import CallSettings

_OPTIONS = (
    # After an outage the other side is found again within a second, not within two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class _AsOurselves(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds what every outgoing call carries: gRPC itself passes on neither deadline nor trace."""

    def __init__(self, identity: ServiceIdentity) -> None:
        self._identity = identity

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        details = client_call_details
        metadata = [
            *(details.metadata or ()),
            ("authorization", self._identity.authorization()),
            ("traceparent", traceparent_for("")),
        ]
        times = [time for time in (details.timeout, seconds_left()) if time is not None]
        changed = grpc.aio.ClientCallDetails(
            details.method,
            min(times, default=None),
            grpc.aio.Metadata(*metadata),
            details.credentials,
            details.wait_for_ready,
        )
        return await continuation(changed, request)


def open_channel(
    config: CallSettings, target: str, audience: str, service_config: str = "{}"
) -> grpc.aio.Channel:
    """A channel to the service `audience`, with TLS if the settings name roots.

    Raises KeysUnreadable, CertificateUnreadable.
    """
    identity = ServiceIdentity(Signer(config.auth_signing_key), audience)
    options = [*_OPTIONS, ("grpc.service_config", service_config)]
    interceptors = [_AsOurselves(identity)]
    if (credentials := channel_credentials(config.tls_roots)) is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)
