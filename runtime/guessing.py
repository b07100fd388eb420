"""Guessing access codes is slow: failed validations are limited, per caller and per peer."""

from datetime import timedelta

import grpc
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from runtime.calls import Context
from runtime.errors import Answer, retry_after
from runtime.identity import Role, current_caller

_WINDOW = timedelta(minutes=1)


class TooManyGuesses(Exception):
    """Too many failed validations; the next one is answered in a minute."""


TOO_MANY_GUESSES = Answer(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_FAILED_VALIDATIONS",
    "验证失败次数过多,请稍后再试",
    retry_after(_WINDOW.total_seconds()),
)


class GuessLimiter:
    """Counts failed validations of the last minute, in this process. Services aren't limited.

    A shop acts for many customers, and so may fail more often.
    """

    def __init__(self, per_caller: int, per_peer: int, per_shop: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._caller, self._peer, self._shop = map(
            RateLimitItemPerMinute, (per_caller, per_peer, per_shop)
        )

    async def check(self, context: Context) -> None:
        """Raises TooManyGuesses, before anything is looked up."""
        for limit, key in self._counters(context):
            if not await self._limiter.test(limit, *key):
                raise TooManyGuesses

    async def failed(self, context: Context) -> None:
        """Notes a failed validation."""
        for limit, key in self._counters(context):
            await self._limiter.hit(limit, *key)

    def _counters(self, context: Context) -> list[tuple[RateLimitItemPerMinute, tuple[str, str]]]:
        caller = current_caller()
        if Role.SERVICE in caller.roles:
            return []
        if Role.CUSTOMER in caller.roles:
            return [
                (self._caller, ("caller", caller.scope)),
                (self._peer, ("peer", _host(context))),
            ]
        return [(self._shop, ("shop", caller.scope)), (self._shop, ("shops at", _host(context)))]


def _host(context: Context) -> str:
    """The peer without its port, which differs by connection."""
    return str(context.peer()).rpartition(":")[0]
