"""Work that a caller's hanging up must not cut in half."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from runtime.rpc.deadlines import without_deadline

_log = structlog.get_logger(__name__)
T = TypeVar("T")


class CancellationShield:
    """Runs work to its end, also if the call that asked for it is cancelled meanwhile.

    Calls that the work makes take the time that they need: a customer in a hurry must not cut
    short what the provider is asked.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; if this is cancelled, the work goes on alone."""
        task = asyncio.create_task(work, context=without_deadline())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell)
            raise


def _tell(task: asyncio.Task[Any]) -> None:
    """There is no caller any more who would hear of a failure."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("work failed after its caller had left", exc_info=error)
