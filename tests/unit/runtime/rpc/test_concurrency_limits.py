"""Calls in progress are limited, fairly by caller, to those that can be answered in time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from runtime.rpc import concurrency_limits
from runtime.rpc.concurrency_limits import CallLimiter
from runtime.rpc.errors import DeadlineTooClose, TooManyCalls

METHOD = "/payment.v1.PaymentService/GetOrder"
OTHER_METHOD = "/payment.v1.PaymentService/ListOrders"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(concurrency_limits, "time", clock)
    return clock


def admitted(limiter: CallLimiter, calls: ExitStack, caller: str, most: int = 100) -> int:
    """Starts calls of a caller until one is refused; how many were admitted."""
    for number in range(most):
        try:
            calls.enter_context(limiter.slot(METHOD, caller, None))
        except TooManyCalls:
            return number
    return most


@contextmanager
def calls_in_progress(limiter: CallLimiter, number: int) -> Iterator[None]:
    with ExitStack() as calls:
        for position in range(number):
            calls.enter_context(limiter.slot(METHOD, f"caller {position}", None))
        yield


def take(limiter: CallLimiter, clock: Clock, seconds: float, calls: int = 1) -> None:
    """Calls of the method that last so long, one after the other."""
    for _ in range(calls):
        with limiter.slot(METHOD, "shop", None):
            clock.now += seconds


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
        with pytest.raises(ZeroDivisionError), limiter.slot(METHOD, "shop", None):
            raise ZeroDivisionError


def test_a_busy_server_refuses_a_call_that_it_would_answer_too_late(clock: Clock) -> None:
    limiter = CallLimiter(1000)
    take(limiter, clock, 0.5)
    with calls_in_progress(limiter, 16):
        with pytest.raises(DeadlineTooClose), limiter.slot(METHOD, "shop", 0.3):
            pass
        for seconds_left in (0.6, None):
            with limiter.slot(METHOD, "shop", seconds_left):
                pass
        with limiter.slot(OTHER_METHOD, "shop", 0.3):
            pass


def test_with_few_calls_in_progress_each_call_is_tried(clock: Clock) -> None:
    """Otherwise a method that was slow once would be refused for ever."""
    limiter = CallLimiter(1000)
    take(limiter, clock, 0.5)
    with calls_in_progress(limiter, 15), limiter.slot(METHOD, "shop", 0.001):
        pass


def test_the_expected_time_follows_that_of_the_latest_calls(clock: Clock) -> None:
    limiter = CallLimiter(1000)
    take(limiter, clock, 0.5)
    take(limiter, clock, 0.01, calls=100)
    with calls_in_progress(limiter, 16), limiter.slot(METHOD, "shop", 0.05):
        pass
