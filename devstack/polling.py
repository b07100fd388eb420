"""Waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# Checks cost the process that is checked: the pause grows with the time that passes.
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS, _PAUSE_FACTOR = 0.01, 0.1, 1.3


class WaitTimedOut(AssertionError):
    """The condition was not met in time."""


async def wait_until(
    check: Callable[[], Awaitable[T | None]], description: str, seconds: float = 30.0
) -> T:
    """Calls `check` until its result is truthy, and returns that; raises WaitTimedOut."""
    deadline = asyncio.get_running_loop().time() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        if result := await check():
            return result
        if asyncio.get_running_loop().time() > deadline:
            raise WaitTimedOut(f"not within {seconds:g} s: {description}")
        await asyncio.sleep(pause)
        pause = min(_MAX_PAUSE_SECONDS, pause * _PAUSE_FACTOR)
