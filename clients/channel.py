"""Channels: bearer token, default deadline, retry, TLS and reconnection in one place."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from clients.errors import CallFailed
from runtime.rpc.channel import create_channel

DEFAULT_TIMEOUT = 10.0
# docs/operations.md gives it to clients in other languages.
SERVICE_CONFIG = """{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{}],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "1s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]
    }
  }]
}"""
_WITHOUT_RETRY = """{"loadBalancingConfig": [{"round_robin": {}}]}"""


class _CallInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds the token and the default deadline to a call, and raises CallFailed if it fails."""

    def __init__(self, name: str, address: str, token: str, timeout: float) -> None:
        self._name, self._address, self._timeout = name, address, timeout
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        details = client_call_details
        timeout = self._timeout if details.timeout is None else details.timeout
        changed = grpc.aio.ClientCallDetails(
            details.method,
            timeout,
            grpc.aio.Metadata(*(details.metadata or ()), *self._metadata),
            details.credentials,
            details.wait_for_ready,
        )
        call = await continuation(changed, request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            task = asyncio.current_task()
            if task and task.cancelling():  # gRPC may report a cancelled call as failed
                raise asyncio.CancelledError from error
            raise CallFailed(error, self._name, self._address, timeout) from None
        return call


def open_channel(
    address: str,
    *,
    name: str = "server",
    token: str = "",
    tls_roots: Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    retry: bool = True,
) -> grpc.aio.Channel:
    """A channel to a gRPC target, with TLS if `tls_roots` names the roots to trust.

    The target is `host:port`, or several replicas between which the calls are balanced:
    `ipv4:10.0.0.1:50051,10.0.0.2:50051`, or `dns:///name:50051` for all addresses of a name.
    `name` is the server's name in error texts. `timeout` is the deadline in seconds, retries
    included, of each unary call that sets none. Raises CertificateUnreadable.
    """
    return create_channel(
        address,
        tls_roots=tls_roots,
        service_config=SERVICE_CONFIG if retry else _WITHOUT_RETRY,
        interceptors=[_CallInterceptor(name, address, token, timeout)],
    )
