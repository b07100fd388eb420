"""Channels to other services."""

import grpc

_OPTIONS = (
    # After an outage the other side is found again within a second, not within two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def open_channel(target: str, service_config: str = "{}") -> grpc.aio.Channel:
    """A channel to a target, with a gRPC service config in JSON."""
    return grpc.aio.insecure_channel(
        target, options=[*_OPTIONS, ("grpc.service_config", service_config)]
    )
