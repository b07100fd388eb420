"""The circuit breaker: what counts, what doesn't, and who may try when it is half open."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devstack.polling import wait_until
from interview_svc.gateways.breaker import Breaker, BreakerOpen
from interview_svc.use_cases.validation import PaymentAway, PaymentFailed
from runtime.rpc.deadlines import DeadlineExceeded

LONG, SHORT = 3600.0, 0.02


def answers() -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        return "answer"

    return ask


def fails(error: BaseException) -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        raise error

    return ask


def hangs(begun: asyncio.Event, let_go: asyncio.Event) -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        begun.set()
        await let_go.wait()
        return "answer"

    return ask


async def call(breaker: Breaker, ask: Callable[[], Awaitable[str]] | None = None) -> str:
    return await breaker.call(ask or answers(), PaymentAway)


async def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(PaymentAway):
            await call(breaker, fails(PaymentAway("away")))


async def opened(seconds: float = LONG) -> Breaker:
    breaker = Breaker(3, seconds)
    await fail(breaker, 3)
    return breaker


async def half_open() -> Breaker:
    """A breaker whose time of rest is over."""
    breaker = await opened(SHORT)

    async def rested() -> bool:
        try:
            await call(breaker, fails(DeadlineExceeded()))  # leaves everything as it is
        except BreakerOpen:
            return False
        except DeadlineExceeded:
            return True
        raise AssertionError

    await wait_until(rested, "the breaker half open")
    return breaker


async def test_after_so_many_failures_in_a_row_nothing_is_asked() -> None:
    breaker = Breaker(3, LONG)
    await fail(breaker, 2)
    assert await call(breaker) == "answer"
    await fail(breaker, 3)
    asked: list[int] = []

    async def ask() -> str:
        asked.append(1)
        return "answer"

    with pytest.raises(BreakerOpen):
        await call(breaker, ask)
    assert asked == []


async def test_an_answer_that_is_no_outage_doesnt_count() -> None:
    breaker = Breaker(1, LONG)
    for error in (PaymentFailed("INTERNAL"), LookupError("no such code"), ValueError()):
        with pytest.raises(type(error)):
            await call(breaker, fails(error))
    assert await call(breaker) == "answer"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), DeadlineExceeded()])
async def test_who_hangs_up_says_nothing_about_the_other_side(error: BaseException) -> None:
    """Neither a failure nor a success: the failures before and after are still in a row."""
    breaker = Breaker(3, LONG)
    await fail(breaker, 2)
    for _ in range(5):
        with pytest.raises(type(error)):
            await call(breaker, fails(error))
    await fail(breaker)
    with pytest.raises(BreakerOpen):
        await call(breaker)


async def test_when_it_has_rested_one_call_at_a_time_may_try() -> None:
    """The others are turned away at once; the success lets everybody in again."""
    breaker, begun, let_go = await half_open(), asyncio.Event(), asyncio.Event()
    probe = asyncio.create_task(call(breaker, hangs(begun, let_go)))
    await begun.wait()
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            await call(breaker)
    let_go.set()
    assert await probe == "answer"
    together = [call(breaker) for _ in range(3)]
    assert await asyncio.gather(*together) == ["answer"] * 3


async def test_a_try_that_fails_opens_it_again_at_once() -> None:
    breaker = await half_open()
    await fail(breaker)
    with pytest.raises(BreakerOpen):
        await call(breaker)


async def test_a_try_that_hangs_up_leaves_the_next_one_to_try() -> None:
    breaker, begun = await half_open(), asyncio.Event()
    probe = asyncio.create_task(call(breaker, hangs(begun, asyncio.Event())))
    await begun.wait()
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert await call(breaker) == "answer"


async def test_an_answer_that_is_no_outage_ends_the_try_well() -> None:
    breaker = await half_open()
    with pytest.raises(LookupError):
        await call(breaker, fails(LookupError()))
    begun, let_go = asyncio.Event(), asyncio.Event()
    slow = asyncio.create_task(call(breaker, hangs(begun, let_go)))
    await begun.wait()
    assert await call(breaker) == "answer"
    let_go.set()
    await slow
