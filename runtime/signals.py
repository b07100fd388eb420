"""Running a program until it is asked to stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger(__name__)


def run_until_signal(
    serve: Callable[[asyncio.Event], Awaitable[None]],
    cannot_start: tuple[type[Exception], ...],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    """Runs `serve` with an event that SIGTERM and SIGINT set.

    Logs an error of `cannot_start` and ends with exit status 1.
    """

    async def until_signal() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(stop)

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(until_signal())
    except cannot_start as error:
        _log.error("could not start", problem=str(error))
        raise SystemExit(1) from None
