"""A circuit breaker: who is away isn't asked again and again.

After so many failures in a row nothing is asked for a while; then one call at a time may try, and
its success lets everybody in again. purgatory keeps the states. It would let every caller try at
once and take one that hung up for a success: both are seen to here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import HALF_OPENED, OpenedState

from runtime.rpc.deadlines import DeadlineExceeded

T = TypeVar("T")
_NAME = "payment"


class BreakerOpen(Exception):
    """Nothing is asked for the time being."""


class Breaker:
    """One circuit breaker of this process."""

    def __init__(self, failures: int, seconds: float) -> None:
        """Opens after so many failures in a row, for so long."""
        self._factory = AsyncCircuitBreakerFactory(failures, seconds)
        self._probing = False

    async def call(self, ask: Callable[[], Awaitable[T]], failure: type[Exception]) -> T:
        """Asks; only `failure` counts as one. Raises BreakerOpen, and what `ask` raises."""
        breaker = await self._factory.get_breaker(_NAME)
        try:
            await breaker.__aenter__()
        except OpenedState as error:
            raise BreakerOpen(str(error)) from error
        probe = breaker.context.state == HALF_OPENED
        if probe and self._probing:
            raise BreakerOpen(f"circuit {_NAME} is being tried")
        self._probing |= probe
        try:
            result = await ask()
        except (asyncio.CancelledError, DeadlineExceeded):
            raise  # whoever hung up has learnt nothing about the other side
        except Exception as error:
            failed = error if isinstance(error, failure) else None
            await breaker.__aexit__(type(failed) if failed else None, failed, None)
            raise
        else:
            await breaker.__aexit__(None, None, None)
            return result
        finally:
            self._probing &= not probe
