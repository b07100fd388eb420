"""Channels with the options that every outgoing connection of the platform needs."""

from collections.abc import Sequence
from pathlib import Path

import grpc

from runtime.rpc.tls import channel_credentials

_KEEPALIVE_OPTIONS = (
    # A server whose host vanished sends no reset. Without pings during calls, the connection would
    # be kept, and every call would fail, until TCP gives up after about 15 minutes.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # While gRPC waits for another ping of its own, it sends no keepalive ping; by default it waits
    # a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
)
_RECONNECT_OPTIONS = (
    # After an outage the server is found again within half a second; by default the backoff grows
    # to two minutes. The option min_reconnect_backoff_ms would also limit each connection attempt.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A name is resolved again when a connection ends, but not more often than this. By default that
    # is 30 seconds: calls fail if all replicas are replaced, at other addresses, in less time.
    ("grpc.dns_min_time_between_resolutions_ms", 500),
)


def create_channel(
    target: str,
    *,
    tls_roots: Path | None = None,
    http_proxy: str = "",
    service_config: str = "{}",
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """A channel to a gRPC target, such as `host:port`; with TLS if `tls_roots` names the roots.

    `http_proxy` is `http://host:port` of a proxy that supports CONNECT; proxies and
    exceptions that the environment names are not used. Raises CertificateUnreadable.
    """
    options = [
        *_RECONNECT_OPTIONS,
        *_KEEPALIVE_OPTIONS,
        *_proxy_options(http_proxy),
        ("grpc.service_config", service_config),
    ]
    if (credentials := channel_credentials(tls_roots)) is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)


def _proxy_options(http_proxy: str) -> list[tuple[str, str | int]]:
    return [
        ("grpc.http_proxy", http_proxy) if http_proxy else ("grpc.enable_http_proxy", 0),
        # Otherwise gRPC reads GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES: a second kind of proxy.
        ("grpc.address_http_proxy_enabled_addresses", ""),
    ]
