"""Channels to other services: own token, remaining deadline, trace context."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from eventbus.trace_context import traceparent_for
from runtime.auth.signing import ServiceToken, TokenSigner
from runtime.rpc.channel import create_channel
from runtime.rpc.deadlines import seconds_left


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


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that this process calls.

    Attributes:
        target: `host:port`.
        audience: Its name in tokens.
        tls_roots: PEM file of the roots to trust; None without TLS.
        http_proxy: `http://host:port` of the proxy to it; "" for none.
    """

    target: str
    audience: str
    tls_roots: Path | None = None
    http_proxy: str = ""


def open_channel(signing_key: Path, peer: Peer, service_config: str = "{}") -> grpc.aio.Channel:
    """A channel to a peer; calls carry our token, signed with the key of the file.

    Raises KeysUnreadable, CertificateUnreadable.
    """
    token = ServiceToken(TokenSigner(signing_key), peer.audience)
    return create_channel(
        peer.target,
        tls_roots=peer.tls_roots,
        http_proxy=peer.http_proxy,
        service_config=service_config,
        interceptors=[_OutgoingCall(token)],
    )
