"""Waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL_SECONDS = 0.02


class WaitTimedOut(AssertionError):
    """The condition was not met in time."""


async def wait_until(
    check: Callable[[], Awaitable[T | None]], description: str, seconds: float = 30.0
) -> T:
    """Calls `check` until its result is truthy, and returns that; raises WaitTimedOut."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        if result := await check():
            return result
        if asyncio.get_running_loop().time() > deadline:
            raise WaitTimedOut(f"not within {seconds:g} s: {description}")
        await asyncio.sleep(_INTERVAL_SECONDS)
