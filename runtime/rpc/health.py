"""Health by name: "" and each service stand for the database, "bus" for relay and consumers.

A broker outage takes nobody out of rotation: calls work, events wait in the outbox.
"""

import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus import Consumer, Relay
from eventbus.jetstream import JetStream
from runtime.rpc.health_servicer import HealthServicer

_log = structlog.get_logger(__name__)
_INTERVAL_SECONDS = 1.0


class HealthMonitor:
    """Keeps the health of a process true."""

    def __init__(
        self, engine: AsyncEngine, broker: JetStream, bus: Sequence[Relay | Consumer]
    ) -> None:
        self.servicer = HealthServicer()
        self._engine, self._broker, self._bus = engine, broker, bus
        self._told: dict[str, bool] = {}

    async def run(self, services: Sequence[str]) -> None:
        """Looks at both every second until cancelled."""
        while True:
            self._tell(["bus"], self._bus_works())
            self._tell(["", *services], await self._database_answers())
            await asyncio.sleep(_INTERVAL_SECONDS)

    def begin(self, services: Sequence[str]) -> None:
        """Says NOT_SERVING for every name, so that none is unknown while we start."""
        self._tell(["", "bus", *services], False)

    def leave(self) -> None:
        """Says NOT_SERVING for good: new calls should go elsewhere."""
        self.servicer.leave()

    def _bus_works(self) -> bool:
        return self._broker.connected and not any(part.trouble for part in self._bus)

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(5), self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError):
            return False
        return True

    def _tell(self, names: Sequence[str], well: bool) -> None:
        for name in names:
            if self._told.get(name) != well:
                self._told[name] = well
                _log.info("health", name=name or "overall", serving=well)
                self.servicer.tell(name, well)
