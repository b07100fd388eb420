"""Health by name, for different questions.

- "" and each gRPC service are readiness: SERVING while the database answers and accepts writes. A
  broker outage does not take a process out of rotation: calls work, events wait in the outbox.
- "liveness" is SERVING as long as the process answers: a restart would not mend the database.
- "bus" reports relay and consumers.

The HTTP server's `/readyz` is the first, its `/livez` the second one.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus import Consumer, Relay
from eventbus.jetstream import JetStream
from runtime.rpc.health_servicer import LIVENESS, HealthServicer

_log = structlog.get_logger(__name__)
_INTERVAL_SECONDS = 1.0
# A check takes at most 5 seconds.
_STALLED_SECONDS = 30.0


class HealthMonitor:
    """Updates the health of a process."""

    def __init__(
        self, engine: AsyncEngine, broker: JetStream, bus: Sequence[Relay | Consumer]
    ) -> None:
        self.servicer = HealthServicer()
        self._engine, self._broker, self._bus = engine, broker, bus
        self._reported: dict[str, bool] = {}
        self._checked_at = time.monotonic()

    def is_ready(self) -> bool:
        """Whether calls can be answered: the health of the name ""; for other threads."""
        return self.servicer.is_serving("")

    def is_live(self) -> bool:
        """Whether the event loop runs: whether it has checked lately. For other threads."""
        return time.monotonic() - self._checked_at < _STALLED_SECONDS

    async def run(self, services: Sequence[str]) -> None:
        """Checks every second until cancelled."""
        while True:
            self._checked_at = time.monotonic()
            self._report(["bus"], self._bus_is_healthy())
            self._report(["", *services], await self._database_is_healthy())
            await asyncio.sleep(_INTERVAL_SECONDS)

    def start(self, services: Sequence[str]) -> None:
        """Reports NOT_SERVING until the first check, so that no name is unknown; and liveness."""
        self._report(["", "bus", *services], False)
        self._report([LIVENESS], True)

    def shut_down(self) -> None:
        """Reports NOT_SERVING from now on, except for liveness: clients use other replicas."""
        self.servicer.shut_down()

    def _bus_is_healthy(self) -> bool:
        return self._broker.connected and not any(part.current_error for part in self._bus)

    async def _database_is_healthy(self) -> bool:
        try:
            async with asyncio.timeout(5), self._engine.connect() as connection:
                read_only = await connection.scalar(text("SHOW transaction_read_only")) == "on"
                if read_only:  # the next check tries another connection
                    await connection.invalidate()
        except (SQLAlchemyError, OSError):
            return False
        return not read_only

    def _report(self, names: Sequence[str], serving: bool) -> None:
        for name in names:
            if self._reported.get(name) != serving:
                self._reported[name] = serving
                _log.info("health", name=name or "overall", serving=serving)
                self.servicer.set(name, serving)
