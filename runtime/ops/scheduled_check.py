"""Runs a check periodically, in one of a service's replicas at a time."""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus import BusTables
from eventbus.lease import Lease
from runtime.workers import PollingWorker

_MIN_LEASE_SECONDS = 10.0


class Check(Protocol):
    """A comparison that reports what it finds wrong by log and metric."""

    async def run_round(self) -> None:
        """Compares, and reports what is wrong now."""

    def stand_by(self) -> None:
        """Reports nothing: another replica does."""


class ScheduledCheck(PollingWorker):
    """Runs the rounds of a check while this process holds the check's lease.

    The holder keeps the lease between its rounds. If it is killed, another replica continues after
    two intervals; if it stops, at its next round.
    """

    def __init__(
        self,
        name: str,
        interval_seconds: float,
        check: Check,
        engine: AsyncEngine,
        tables: BusTables,
        *,
        on_stop: Callable[[], None] = lambda: None,
        run_immediately: bool = True,
    ) -> None:
        """`on_stop` ends the current round soon."""
        super().__init__(name, interval_seconds, self._run_round, run_immediately=run_immediately)
        self._check, self._engine, self._on_stop = check, engine, on_stop
        seconds = max(2 * interval_seconds, _MIN_LEASE_SECONDS)
        self._lease = Lease(tables, name, seconds)

    def stop(self) -> None:
        """Ends `run` soon."""
        self._on_stop()
        super().stop()

    async def run(self) -> None:
        """Works until stopped, then gives the lease back."""
        try:
            await super().run()
        finally:
            with suppress(Exception):  # without the database, the lease expires
                async with self._engine.begin() as connection:
                    await self._lease.release(connection)

    async def _run_round(self) -> None:
        async with self._engine.begin() as connection:
            held = await self._lease.acquire(connection)
        if held:
            await self._check.run_round()
        else:
            self._check.stand_by()
