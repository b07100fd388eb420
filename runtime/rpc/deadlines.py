"""The time that a call has left, for itself and for the calls that it makes."""

import asyncio
from contextvars import Context, ContextVar, copy_context
from types import TracebackType

_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


class DeadlineExceeded(Exception):
    """The deadline of the call passed; a step that had begun was rolled back or is completed."""


class deadline:  # noqa: N801  used like a function
    """Bounds a block by the caller's deadline or our limit, whichever is earlier.

    Raises DeadlineExceeded. A class, since every call passes here: a generator takes twice as long.
    """

    __slots__ = ("_timeout", "_token")

    def __init__(self, caller_seconds: float | None, limit_seconds: float) -> None:
        seconds = limit_seconds if caller_seconds is None else min(caller_seconds, limit_seconds)
        ends_at = asyncio.get_running_loop().time() + seconds
        self._timeout, self._token = asyncio.Timeout(ends_at), _ends_at.set(ends_at)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _ends_at.reset(self._token)
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as timed_out:
            raise DeadlineExceeded from timed_out


def without_deadline() -> Context:
    """A copy of the current context without the call's deadline, for a task of its own."""
    context = copy_context()
    context.run(_ends_at.set, None)
    return context


def seconds_left() -> float | None:
    """Seconds until the deadline of the current call; None outside a call."""
    ends_at = _ends_at.get()
    return None if ends_at is None else max(0.0, ends_at - asyncio.get_running_loop().time())
