"""Background workers of a service."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog

from eventbus.errors import describe_error

_log = structlog.get_logger(__name__)


class Worker(Protocol):
    """Runs until stopped, then finishes the current work."""

    async def run(self) -> None:
        """Works until `stop` was called; raises only for a defect."""

    def stop(self) -> None:
        """Asks `run` to end after the current work."""


class PollingWorker:
    """Repeats a piece of work at an interval, and at once when woken.

    A failure is logged and the next round tries again, so that the worker survives outages of what
    the work needs. `wake` only reduces latency: no work depends on it.
    """

    def __init__(
        self,
        name: str,
        interval_seconds: float,
        work: Callable[[], Awaitable[object]],
        *,
        run_immediately: bool = True,
    ) -> None:
        """Without `run_immediately` the first round is after the first interval.

        `work` does one round; if it returns True, the next round follows without a pause.
        """
        self.name, self._interval, self._work = name, interval_seconds, work
        self._run_immediately = run_immediately
        self._woken = asyncio.Event()
        self.stopping = False

    def wake(self) -> None:
        """Starts the next round now."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after the current round."""
        self.stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Works until stopped."""
        if not self._run_immediately:
            await self._pause()
        while not self.stopping:
            self._woken.clear()
            try:
                more = await self._work() is True
            except Exception as error:  # noqa: BLE001  the next round tries again
                _log.warning("worker failed", worker=self.name, error=describe_error(error))
                more = False
            if not more and not self.stopping:
                await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), self._interval)
