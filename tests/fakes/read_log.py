"""A unit of work that records when rows are locked and when the clock is read."""

from collections.abc import Callable
from datetime import datetime
from typing import Any


class ReadLog:
    """Wraps a unit of work; `calls` has its locking reads in order, and "clock" for the clock."""

    def __init__(self, uow: Any) -> None:
        self._uow = uow
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        wrapped = getattr(self._uow, name)
        return wrapped if callable(wrapped) else _Repository(wrapped, self.calls)

    def clock(self, moment: datetime) -> Callable[[], datetime]:
        """A clock that always shows `moment`."""

        def read() -> datetime:
            self.calls.append("clock")
            return moment

        return read

    def reads_clock_under_lock(self) -> bool:
        """Whether rows were locked, the clock was read, and no row was locked after that."""
        locked = [call for call in self.calls if call != "clock"]
        first = self.calls.index("clock") if "clock" in self.calls else 0
        return 0 < len(locked) == first


class _Repository:
    def __init__(self, repository: Any, calls: list[str]) -> None:
        self._repository, self._calls = repository, calls

    def __getattr__(self, name: str) -> Any:
        if name.startswith("get"):
            self._calls.append(name)
        return getattr(self._repository, name)
