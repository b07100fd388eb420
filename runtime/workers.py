"""Work done from time to time, in the background of a service."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from eventbus.errors import describe_error

_log = structlog.get_logger(__name__)


class PeriodicWorker:
    """Does something at every interval; a failure waits for the next round."""

    def __init__(
        self,
        name: str,
        seconds: float,
        work: Callable[[], Awaitable[object]],
        *,
        run_immediately: bool = True,
    ) -> None:
        """With `run_immediately` False, the first round is after the first interval."""
        self._name, self._seconds, self._work = name, seconds, work
        self._at_once = run_immediately
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends `run` after the work in hand."""
        self._stop.set()

    async def run(self) -> None:
        """Works until stopped; outlives outages of what the work needs."""
        if not self._at_once:
            await self._pause()
        while not self._stop.is_set():
            try:
                await self._work()
            except Exception as error:  # noqa: BLE001  the next round does it
                _log.warning("periodic work failed", work=self._name, error=describe_error(error))
            await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self._seconds)
