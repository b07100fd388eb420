"""Channels to other services: own token, remaining deadline, trace context."""

from collections.abc import Callable
from typing import Any

import grpc

from eventbus.trace_context import traceparent_for
from runtime.auth.authentication import ServiceToken, TokenSigner
from runtime.rpc.deadlines import seconds_left
from runtime.rpc.tls import channel_credentials
from runtime.settings import CallSettings

_OPTIONS = (
    # Reconnects within 1 s; the default backoff grows to 120 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class _OutgoingCall(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds token, deadline and traceparent: gRPC itself propagates neither deadline nor trace."""

    def __init__(self, token: ServiceToken) -> None:
        self._token = token

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        details = client_call_details
        metadata = [
            *(details.metadata or ()),
            ("authorization", self._token.authorization()),
            ("traceparent", traceparent_for("")),
        ]
        timeouts = [t for t in (details.timeout, seconds_left()) if t is not None]
        extended = grpc.aio.ClientCallDetails(
            details.method,
            min(timeouts, default=None),
            grpc.aio.Metadata(*metadata),
            details.credentials,
            details.wait_for_ready,
        )
        return await continuation(extended, request)


def open_channel(
    config: CallSettings, target: str, audience: str, service_config: str = "{}"
) -> grpc.aio.Channel:
    """A channel to the service `audience`, with TLS if the settings name roots.

    Raises KeysUnreadable, CertificateUnreadable.
    """
    token = ServiceToken(TokenSigner(config.auth_signing_key), audience)
    options = [*_OPTIONS, ("grpc.service_config", service_config)]
    interceptors = [_OutgoingCall(token)]
    if (credentials := channel_credentials(config.tls_roots)) is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)
