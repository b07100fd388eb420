"""Concurrent failed attempts are limited, and valid attempts are not delayed for long."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from devstack.polling import wait_until
from runtime.auth.authentication import Caller, Role, set_caller
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter, TooManyFailedAttempts

LIMIT = 20


@dataclass(frozen=True)
class From:
    """A call's context, of which only the peer matters."""

    host: str = "ipv4:10.0.0.1"

    def peer(self) -> str:
        return f"{self.host}:50000"


HERE: Any = From()


class Lookup:
    """Looks codes up once it is open."""

    def __init__(self, limiter: FailedAttemptLimiter) -> None:
        self.limiter, self.looked, self.under_way = limiter, 0, 0
        self.open = asyncio.Event()

    async def judge(self, *, good: bool, name: str = "li", context: Any = HERE) -> str:
        set_caller(Caller(name, frozenset({Role.CUSTOMER})))
        try:
            async with self.limiter.attempt(context) as attempt:
                self.looked, self.under_way = self.looked + 1, self.under_way + 1
                try:
                    await self.open.wait()
                finally:
                    self.under_way -= 1
                if not good:
                    attempt.mark_failed()
        except TooManyFailedAttempts:
            return "refused"
        return "looked at"

    async def until_under_way(self, number: int) -> None:
        async def look() -> bool:
            return self.under_way == number

        await wait_until(look, f"{number} look-ups under way")


@pytest.fixture
def lookup() -> Lookup:
    return Lookup(FailedAttemptLimiter(LIMIT, 3 * LIMIT, 10 * LIMIT))


async def test_of_many_guesses_at_once_only_the_limit_is_looked_at(lookup: Lookup) -> None:
    calls = [asyncio.create_task(lookup.judge(good=False)) for _ in range(900)]
    await lookup.until_under_way(LIMIT)
    lookup.open.set()
    results = Counter(await asyncio.gather(*calls))
    assert results == {"looked at": LIMIT, "refused": 900 - LIMIT}
    assert lookup.looked == LIMIT


async def test_of_many_callers_at_one_address_only_its_limit_is_looked_at(lookup: Lookup) -> None:
    calls = [
        asyncio.create_task(lookup.judge(good=False, name=f"guesser {number % 9}"))
        for number in range(900)
    ]
    await lookup.until_under_way(3 * LIMIT)
    lookup.open.set()
    assert Counter(await asyncio.gather(*calls))["looked at"] == 3 * LIMIT
    assert await lookup.judge(good=True, name="new", context=From("ipv4:10.0.0.2")) == "looked at"


async def test_the_addresses_of_an_ipv6_network_have_one_limit(lookup: Lookup) -> None:
    """A host has them all, so that a limit of each would be none."""
    hosts = [From(f"ipv6:%5B2001:db8:1:2::{number:x}%5D") for number in range(900)]
    calls = [
        asyncio.create_task(lookup.judge(good=False, name=f"guesser {host.host}", context=host))
        for host in hosts
    ]
    await lookup.until_under_way(3 * LIMIT)
    lookup.open.set()
    assert Counter(await asyncio.gather(*calls))["looked at"] == 3 * LIMIT
    elsewhere = From("ipv6:%5B2001:db8:1:3::1%5D")
    assert await lookup.judge(good=True, name="new", context=elsewhere) == "looked at"


async def test_good_codes_beyond_the_limit_wait_and_are_all_looked_at(lookup: Lookup) -> None:
    calls = [asyncio.create_task(lookup.judge(good=True)) for _ in range(10 * LIMIT)]
    await lookup.until_under_way(LIMIT)
    lookup.open.set()
    assert Counter(await asyncio.gather(*calls)) == {"looked at": 10 * LIMIT}


async def test_who_waits_is_served_in_turn(lookup: Lookup) -> None:
    served: list[int] = []

    async def call(number: int) -> None:
        await lookup.judge(good=True)
        served.append(number)

    calls = [asyncio.create_task(call(number)) for number in range(3 * LIMIT)]
    await lookup.until_under_way(LIMIT)
    lookup.open.set()
    await asyncio.gather(*calls)
    assert served == sorted(served)


async def test_cancelled_calls_free_their_slots_and_leave_nothing(lookup: Lookup) -> None:
    """Those under way and those that wait; what is left is looked at, and then all is forgotten."""
    calls = [asyncio.create_task(lookup.judge(good=True)) for _ in range(3 * LIMIT)]
    await lookup.until_under_way(LIMIT)
    for call in calls[: 2 * LIMIT]:
        call.cancel()
    await asyncio.wait(calls[: 2 * LIMIT])
    await lookup.until_under_way(LIMIT)
    assert lookup.looked == 2 * LIMIT
    lookup.open.set()
    assert set(await asyncio.gather(*calls[2 * LIMIT :])) == {"looked at"}
    assert not lookup.limiter._counters


async def test_services_are_not_limited(lookup: Lookup) -> None:
    async def judge() -> None:
        set_caller(Caller("interview", frozenset({Role.SERVICE})))
        async with lookup.limiter.attempt(HERE) as attempt:
            lookup.under_way += 1
            await lookup.open.wait()
            attempt.mark_failed()

    calls = [asyncio.create_task(judge()) for _ in range(30 * LIMIT)]
    await lookup.until_under_way(30 * LIMIT)
    lookup.open.set()
    await asyncio.gather(*calls)
