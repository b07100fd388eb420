"""grpc.health.v1.Health, in which no watcher can hold up another or what is to be told.

grpcio-health-checking's own servicer writes to watchers under the lock that a change of health
needs: one anonymous watcher that reads nothing would freeze it, and keep the process from stopping.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Context = grpc.aio.ServicerContext[Any, Any]
_Response = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells the health of names; a name that was never told is unknown."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self._left = False

    def tell(self, name: str, serving: bool) -> None:
        """From now on this is the name's health."""
        if not self._left:
            self._serving[name] = serving
            self._wake()

    def leave(self) -> None:
        """Nothing is served any more, for good; who watches is told so, and let go."""
        self._serving = dict.fromkeys(self._serving, False)
        self._left = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> _Response:
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self._answer(request.service)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> None:
        told = None
        while True:
            changed, left = self._changed, self._left
            answer = self._answer(request.service)
            if answer != told:
                # What changes while the watcher takes it is seen in the next round.
                await context.write(answer)
                told = answer
            if left:
                return
            await changed.wait()

    def _answer(self, name: str) -> _Response:
        if name not in self._serving:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        well = self._serving[name]
        return _Response(status=_Response.SERVING if well else _Response.NOT_SERVING)
