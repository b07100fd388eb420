"""The time that a call has left, for itself and for the calls that it makes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context

_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


class DeadlineExceeded(Exception):
    """The deadline of the call passed; a step that had begun was rolled back or is completed."""


@asynccontextmanager
async def deadline(caller_seconds: float | None, limit_seconds: float) -> AsyncIterator[None]:
    """Bounds a block by the caller's deadline or our limit, whichever is earlier.

    Raises DeadlineExceeded.
    """
    seconds = limit_seconds if caller_seconds is None else min(caller_seconds, limit_seconds)
    ends_at = asyncio.get_running_loop().time() + seconds
    token = _ends_at.set(ends_at)
    try:
        async with asyncio.timeout_at(ends_at) as timeout:
            yield
    except TimeoutError as error:
        if timeout.expired():
            raise DeadlineExceeded from error
        raise
    finally:
        _ends_at.reset(token)


def without_deadline() -> Context:
    """A copy of the current context without the call's deadline, for a task of its own."""
    context = copy_context()
    context.run(_ends_at.set, None)
    return context


def seconds_left() -> float | None:
    """Seconds until the deadline of the current call; None outside a call."""
    ends_at = _ends_at.get()
    return None if ends_at is None else max(0.0, ends_at - asyncio.get_running_loop().time())
