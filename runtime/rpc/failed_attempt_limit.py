"""Guessing access codes is slow: failed validations are limited, per caller and per peer.

Guarantee: also of calls side by side, no more are looked at than may still fail. What is beyond
that waits, first come first served, until one under way has proved right or wrong; so many calls
with one good code are all looked at, and many guesses are not.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import grpc
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from runtime.auth.authentication import Role, current_caller
from runtime.rpc.concurrency_limits import peer_host
from runtime.rpc.errors import ErrorSpec, retry_after
from runtime.rpc.interceptor import Context

_WINDOW = timedelta(minutes=1)
_Key = tuple[str, str]


class TooManyFailedAttempts(Exception):
    """Too many failed validations; the next one is answered in a minute."""


TOO_MANY_FAILED_ATTEMPTS = ErrorSpec(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_FAILED_VALIDATIONS",
    "验证失败次数过多,请稍后再试",
    retry_after(_WINDOW.total_seconds()),
)


class Attempt:
    """A validation under way. Unless it says otherwise it was no failure."""

    def __init__(self) -> None:
        self.wrong = False

    def mark_failed(self) -> None:
        """The code was wrong."""
        self.wrong = True


class _Counter:
    """The calls of one caller or peer that are under way or wait for one of those."""

    def __init__(self) -> None:
        self.calls = 0
        self._under_way = 0
        self._ended = asyncio.Event()
        # Fair; whoever has it is the next.
        self._next = asyncio.Lock()

    async def enter(
        self, limiter: MovingWindowRateLimiter, limit: RateLimitItemPerMinute, key: _Key
    ) -> None:
        """Waits until this call may fail too; raises TooManyFailedAttempts at the limit."""
        async with self._next:
            while True:
                self._ended.clear()
                left = (await limiter.get_window_stats(limit, *key)).remaining
                if left <= 0:
                    raise TooManyFailedAttempts
                # What ended while we asked may have failed: then `left` is too much.
                if self._under_way < left and not self._ended.is_set():
                    break
                await self._ended.wait()
            self._under_way += 1

    def leave(self) -> None:
        """The call has proved right or wrong."""
        self._under_way -= 1
        self._ended.set()


class FailedAttemptLimiter:
    """Counts failed validations of the last minute, in this process. Services aren't limited.

    A shop acts for many customers, and so may fail more often.
    """

    def __init__(self, per_caller: int, per_peer: int, per_storefront: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._caller, self._peer, self._shop = map(
            RateLimitItemPerMinute, (per_caller, per_peer, per_storefront)
        )
        self._counters: dict[_Key, _Counter] = {}

    @asynccontextmanager
    async def attempt(self, context: Context) -> AsyncIterator[Attempt]:
        """Surrounds one validation, which says whether it failed.

        Raises TooManyFailedAttempts, before anything is looked up.
        """
        made = Attempt()
        async with AsyncExitStack() as places:
            # Always in this order, so that no two calls wait for each other.
            for limit, key in self._limits(context):
                await places.enter_async_context(self._place(limit, key, made))
            yield made

    @asynccontextmanager
    async def _place(
        self, limit: RateLimitItemPerMinute, key: _Key, made: Attempt
    ) -> AsyncIterator[None]:
        counter = self._counters.setdefault(key, _Counter())
        counter.calls += 1
        try:
            await counter.enter(self._limiter, limit, key)
            try:
                yield
            finally:
                try:
                    if made.wrong:
                        await self._limiter.hit(limit, *key)
                finally:
                    counter.leave()
        finally:
            counter.calls -= 1
            if not counter.calls:
                del self._counters[key]

    def _limits(self, context: Context) -> list[tuple[RateLimitItemPerMinute, _Key]]:
        caller = current_caller()
        if Role.SERVICE in caller.roles:
            return []
        host = peer_host(context)
        if Role.CUSTOMER in caller.roles:
            return [(self._caller, ("caller", caller.scope)), (self._peer, ("peer", host))]
        return [(self._shop, ("shop", caller.scope)), (self._shop, ("shops at", host))]
