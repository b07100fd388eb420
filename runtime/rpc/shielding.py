"""Shields work from the cancellation of the call that started it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from runtime.rpc.deadlines import without_deadline

_log = structlog.get_logger(__name__)
T = TypeVar("T")


class CancellationShield:
    """Runs work to its end, even if the call that started it is cancelled.

    The call's deadline does not apply to the calls that the work makes: a customer's short deadline
    must not interrupt a charge at the provider.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; if this is cancelled, the work continues in the background."""
        task = asyncio.create_task(work, context=without_deadline())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise


def _log_failure(task: asyncio.Task[Any]) -> None:
    """Logs a failure that no caller receives."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("shielded work failed after the call was cancelled", exc_info=error)
