"""A circuit breaker: during an outage, calls fail at once instead of each waiting for its timeout.

CLOSED → OPEN        after a number of failures in a row
OPEN → HALF_OPEN     after a time; then one call at a time is admitted, the probe
HALF_OPEN → CLOSED   when the probe succeeds
HALF_OPEN → OPEN     when the probe fails
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from runtime.rpc.deadlines import DeadlineExceeded

T = TypeVar("T")


class CircuitOpen(Exception):
    """The circuit is open: the call is not made."""


class CircuitBreaker:
    """The circuit breaker of one remote service, in this process."""

    def __init__(
        self,
        failure_threshold: int,
        open_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens after `failure_threshold` failures in a row, for `open_seconds`."""
        self._threshold, self._open_seconds, self._clock = failure_threshold, open_seconds, clock
        self._failures = 0
        self._opened_at: float | None = None  # None while the circuit is closed
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are not made, or only probes."""
        return self._opened_at is not None

    async def call(self, operation: Callable[[], Awaitable[T]], failure: type[Exception]) -> T:
        """Runs the operation. Every outcome but an error of type `failure` is a success.

        A cancelled call and DeadlineExceeded are neither: they say nothing about the service.
        Raises CircuitOpen, and what the operation raises.
        """
        is_probe = self._admit()
        try:
            result = await operation()
        except (asyncio.CancelledError, DeadlineExceeded):
            raise
        except Exception as error:
            self._record(isinstance(error, failure), is_probe=is_probe)
            raise
        else:
            self._record(False, is_probe=is_probe)
            return result
        finally:
            self._probing &= not is_probe

    def _admit(self) -> bool:
        """Returns whether the call is the probe; raises CircuitOpen if it is not admitted."""
        if self._opened_at is None:
            return False
        if self._clock() < self._opened_at + self._open_seconds:
            raise CircuitOpen("the circuit is open")
        if self._probing:
            raise CircuitOpen("the circuit is half-open and its probe has not ended")
        self._probing = True
        return True

    def _record(self, failed: bool, *, is_probe: bool) -> None:
        if self._opened_at is not None and not is_probe:
            return  # the call began before the circuit opened
        self._failures = self._failures + 1 if failed else 0
        opens = failed and (is_probe or self._failures >= self._threshold)
        self._opened_at = self._clock() if opens else None
