"""grpc.health.v1.Health in which a slow watcher blocks neither other watchers nor an update.

grpcio-health-checking's own servicer writes to watchers under the lock that an update needs: one
anonymous watcher that reads nothing would freeze it and keep the process from stopping.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Context = grpc.aio.ServicerContext[Any, Any]
_Response = health_pb2.HealthCheckResponse
# The type stubs are older than the method List.
_ListResponse: Any = health_pb2.HealthListResponse  # type: ignore[attr-defined]
LIVENESS = "liveness"


class HealthServicer(health_pb2_grpc.HealthServicer):
    """The health of names; a name that was never set is unknown."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self._is_shut_down = False

    def set(self, name: str, serving: bool) -> None:
        """Sets the health of a name."""
        if not self._is_shut_down:
            self._serving[name] = serving
            self._wake()

    def is_serving(self, name: str) -> bool:
        """The health of a name; False if it was never set."""
        return self._serving.get(name, False)

    def shut_down(self) -> None:
        """Sets every name but LIVENESS to NOT_SERVING permanently, and ends all watches.

        The process lives until it has finished its calls: a restart would interrupt them.
        """
        self._serving = {name: name == LIVENESS for name in self._serving}
        self._is_shut_down = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> _Response:
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self._response(request.service)

    async def List(self, _request: Any, _context: _Context) -> Any:  # noqa: N802
        return _ListResponse(statuses={name: self._response(name) for name in self._serving})

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> None:
        sent = None
        while True:
            changed, is_last = self._changed, self._is_shut_down
            response = self._response(request.service)
            if response != sent:
                # A change during the write is sent in the next round.
                await context.write(response)
                sent = response
            if is_last:
                return
            await changed.wait()

    def _response(self, name: str) -> _Response:
        if name not in self._serving:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        serving = self._serving[name]
        return _Response(status=_Response.SERVING if serving else _Response.NOT_SERVING)
