"""Calls in progress are limited, fairly by caller, to those that can be answered in time."""

import asyncio
import time
from contextlib import ExitStack

import pytest

from devstack.polling import wait_until
from runtime.rpc.concurrency_limits import CallLimiter, LoopDelay
from runtime.rpc.errors import DeadlineTooClose, TooManyCalls


def admitted(limiter: CallLimiter, calls: ExitStack, caller: str, most: int = 100) -> int:
    """Starts calls of a caller until one is refused; how many were admitted."""
    for number in range(most):
        try:
            calls.enter_context(limiter.slot(caller, None))
        except TooManyCalls:
            return number
    return most


def test_a_caller_alone_gets_half_of_the_limit() -> None:
    with ExitStack() as calls:
        assert admitted(CallLimiter(10), calls, "shop") == 5


def test_each_further_caller_gets_as_many_as_then_are_free() -> None:
    limiter = CallLimiter(16)
    with ExitStack() as calls:
        names = ("first", "second", "third", "fourth", "fifth")
        assert [admitted(limiter, calls, name) for name in names] == [8, 4, 2, 1, 1]
        assert admitted(limiter, calls, "sixth") == 0


def test_the_end_of_a_call_makes_room() -> None:
    limiter = CallLimiter(10)
    for _ in range(3):
        with ExitStack() as calls:
            assert admitted(limiter, calls, "shop") == 5


def test_a_failed_call_makes_room() -> None:
    limiter = CallLimiter(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.slot("shop", None):
            raise ZeroDivisionError


def test_a_busy_process_refuses_a_call_that_it_would_answer_too_late() -> None:
    limiter = CallLimiter(1000, loop_delay=lambda: 0.1)
    with pytest.raises(DeadlineTooClose), limiter.slot("shop", 0.3):
        pass
    for seconds_left in (0.5, None):
        with limiter.slot("shop", seconds_left):
            pass


async def test_the_delay_of_the_event_loop_grows_while_it_is_busy_and_falls_again() -> None:
    delay = LoopDelay()
    measuring = asyncio.create_task(delay.measure())
    await asyncio.sleep(0)

    async def is_busy() -> bool:
        ends_at = time.perf_counter() + 0.1
        while time.perf_counter() < ends_at:
            pass
        return delay.seconds > 0.02

    async def is_idle() -> bool:
        return delay.seconds < 0.01

    await wait_until(is_busy, "the delay of a busy loop")
    await wait_until(is_idle, "no delay of an idle loop")
    measuring.cancel()
