"""Rate limit of failed attempts, per caller and per peer, against brute force.

Guarantee: of concurrent attempts no more run than may still fail. The others wait in order until
one in progress has succeeded or failed. So any number of valid attempts all succeed, while
concurrent failed attempts are limited like sequential ones.
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
from runtime.rpc.call_layer import Context
from runtime.rpc.errors import ErrorSpec, retry_after
from runtime.rpc.peers import peer_network

_WINDOW = timedelta(minutes=1)
_Key = tuple[str, str]


class TooManyFailedAttempts(Exception):
    """Too many failed attempts; the next one is possible within a minute."""


TOO_MANY_FAILED_ATTEMPTS = ErrorSpec(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_FAILED_VALIDATIONS",
    "验证失败次数过多,请稍后再试",
    retry_after(_WINDOW.total_seconds()),
    "too many failed attempts; the next one is possible within a minute",
)


class Attempt:
    """An attempt in progress. It counts as success unless marked as failed."""

    def __init__(self) -> None:
        self.has_failed = False

    def mark_failed(self) -> None:
        """Counts this attempt as failed."""
        self.has_failed = True


class _Counter:
    """The attempts of one caller or peer: in progress, or waiting."""

    def __init__(self) -> None:
        self.attempts = 0
        self._in_progress = 0
        self._ended = asyncio.Event()
        # Fair: waiters get it in order.
        self._next = asyncio.Lock()

    async def enter(
        self, limiter: MovingWindowRateLimiter, limit: RateLimitItemPerMinute, key: _Key
    ) -> None:
        """Waits until this attempt may fail too; raises TooManyFailedAttempts at the limit."""
        async with self._next:
            while True:
                self._ended.clear()
                remaining = (await limiter.get_window_stats(limit, *key)).remaining
                if remaining <= 0:
                    raise TooManyFailedAttempts
                # An attempt that ended during the query may have failed: retry then.
                if self._in_progress < remaining and not self._ended.is_set():
                    break
                await self._ended.wait()
            self._in_progress += 1

    def leave(self) -> None:
        """The attempt has ended."""
        self._in_progress -= 1
        self._ended.set()


class FailedAttemptLimiter:
    """Counts the failed attempts of the last minute in this process. Services are not limited.

    A storefront acts for many customers, so its limit is higher.
    """

    def __init__(self, per_caller: int, per_peer: int, per_storefront: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._caller, self._peer, self._storefront = map(
            RateLimitItemPerMinute, (per_caller, per_peer, per_storefront)
        )
        self._counters: dict[_Key, _Counter] = {}

    @asynccontextmanager
    async def attempt(self, context: Context) -> AsyncIterator[Attempt]:
        """Surrounds one attempt; the block marks it if it failed.

        Raises TooManyFailedAttempts before the block.
        """
        attempt = Attempt()
        if Role.SERVICE in current_caller().roles:
            yield attempt
            return
        async with AsyncExitStack() as slots:
            # Always in this order, so that no two attempts wait for each other.
            for limit, key in self._limits(context):
                await slots.enter_async_context(self._slot(limit, key, attempt))
            yield attempt

    @asynccontextmanager
    async def _slot(
        self, limit: RateLimitItemPerMinute, key: _Key, attempt: Attempt
    ) -> AsyncIterator[None]:
        counter = self._counters.setdefault(key, _Counter())
        counter.attempts += 1
        try:
            await counter.enter(self._limiter, limit, key)
            try:
                yield
            finally:
                try:
                    if attempt.has_failed:
                        await self._limiter.hit(limit, *key)
                finally:
                    counter.leave()
        finally:
            counter.attempts -= 1
            if not counter.attempts:
                del self._counters[key]

    def _limits(self, context: Context) -> list[tuple[RateLimitItemPerMinute, _Key]]:
        caller = current_caller()
        network = peer_network(context)
        if Role.CUSTOMER in caller.roles:
            return [(self._caller, ("caller", caller.scope)), (self._peer, ("peer", network))]
        return [
            (self._storefront, ("storefront", caller.scope)),
            (self._storefront, ("storefront peer", network)),
        ]
