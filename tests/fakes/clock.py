"""Clocks for tests."""

from collections.abc import Callable
from datetime import datetime


class FakeClock:
    """A monotonic clock that a test advances: returns `now`, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(moment: datetime) -> Callable[[], datetime]:
    """A clock that always shows `moment`."""
    return lambda: moment
