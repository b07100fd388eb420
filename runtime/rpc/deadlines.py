"""The time that a call has left, for itself and for the calls that it makes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context

_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


class DeadlineExceeded(Exception):
    """The time for the call ran out; what it had begun was undone or goes on to its end."""


@asynccontextmanager
async def limited(caller_seconds: float | None, most_seconds: float) -> AsyncIterator[None]:
    """StreamLimits a block by the caller's deadline or ours, whichever is earlier.

    Raises DeadlineExceeded.
    """
    seconds = most_seconds if caller_seconds is None else min(caller_seconds, most_seconds)
    ends_at = asyncio.get_running_loop().time() + seconds
    token = _ends_at.set(ends_at)
    try:
        async with asyncio.timeout_at(ends_at) as bound:
            yield
    except TimeoutError as error:
        if bound.expired():
            raise DeadlineExceeded from error
        raise
    finally:
        _ends_at.reset(token)


def unlimited() -> Context:
    """A context for a task of its own, as here but without the call's deadline."""
    context = copy_context()
    context.run(_ends_at.set, None)
    return context


def seconds_left() -> float | None:
    """What is left of the call that is being answered; None outside one."""
    ends_at = _ends_at.get()
    return None if ends_at is None else max(0.0, ends_at - asyncio.get_running_loop().time())
