"""Waiting for what happens by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class WaitTimedOut(AssertionError):
    """What was waited for did not come in time."""


async def wait_until(
    look: Callable[[], Awaitable[T | None]], what: str, seconds: float = 30.0
) -> T:
    """Looks until there is something, and returns it; raises WaitTimedOut."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        if found := await look():
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise WaitTimedOut(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.02)
