"""The circuit breaker: what counts as a failure, and which calls a half-open circuit admits."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from interview_svc.gateways.circuit_breaker import CircuitBreaker, CircuitOpen
from interview_svc.use_cases.code_validation import PaymentQueryFailed, PaymentUnreachable
from runtime.rpc.deadlines import DeadlineExceeded
from tests.fakes.clock import FakeClock

THRESHOLD, OPEN_SECONDS = 3, 5.0
Operation = Callable[[], Awaitable[str]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreaker:
    return CircuitBreaker(THRESHOLD, OPEN_SECONDS, clock)


async def succeed() -> str:
    return "reply"


def fail_with(error: BaseException) -> Operation:
    async def operation() -> str:
        raise error

    return operation


class Pending:
    """An operation that runs until `end` is called; raises `error` then, if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self._end, self._error = asyncio.Event(), asyncio.Event(), error

    async def __call__(self) -> str:
        self.begun.set()
        await self._end.wait()
        if self._error:
            raise self._error
        return "reply"

    def end(self) -> None:
        self._end.set()


async def call(breaker: CircuitBreaker, operation: Operation = succeed) -> str:
    return await breaker.call(operation, PaymentUnreachable)


async def begin(breaker: CircuitBreaker, operation: Pending) -> "asyncio.Task[str]":
    task = asyncio.create_task(call(breaker, operation))
    await operation.begun.wait()
    return task


async def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(PaymentUnreachable):
            await call(breaker, fail_with(PaymentUnreachable("outage")))


async def assert_open(breaker: CircuitBreaker) -> None:
    called = False

    async def operation() -> str:
        nonlocal called
        called = True
        return "reply"

    with pytest.raises(CircuitOpen):
        await call(breaker, operation)
    assert not called


async def half_open(breaker: CircuitBreaker, clock: FakeClock) -> None:
    await fail(breaker, THRESHOLD)
    clock.now += OPEN_SECONDS


async def test_failures_in_a_row_open_the_circuit(breaker: CircuitBreaker) -> None:
    await fail(breaker, THRESHOLD - 1)
    assert await call(breaker) == "reply"
    await fail(breaker, THRESHOLD - 1)
    assert await call(breaker) == "reply"
    await fail(breaker, THRESHOLD)
    await assert_open(breaker)


async def test_the_circuit_stays_open_for_its_time(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    await fail(breaker, THRESHOLD)
    clock.now += OPEN_SECONDS - 0.1
    await assert_open(breaker)
    clock.now += 0.1
    assert await call(breaker) == "reply"


async def test_an_error_of_another_type_is_a_success(clock: FakeClock) -> None:
    breaker = CircuitBreaker(1, OPEN_SECONDS, clock)
    for error in (PaymentQueryFailed("INTERNAL"), LookupError("no such code"), ValueError()):
        with pytest.raises(type(error)):
            await call(breaker, fail_with(error))
    assert await call(breaker) == "reply"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), DeadlineExceeded()])
async def test_a_cancelled_call_is_neither_a_failure_nor_a_success(
    breaker: CircuitBreaker, error: BaseException
) -> None:
    """The failures before and after it are still in a row."""
    await fail(breaker, THRESHOLD - 1)
    for _ in range(5):
        with pytest.raises(type(error)):
            await call(breaker, fail_with(error))
    await fail(breaker)
    await assert_open(breaker)


async def test_a_half_open_circuit_admits_one_probe_whose_success_closes_it(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    await half_open(breaker, clock)
    operation = Pending()
    probe = await begin(breaker, operation)
    for _ in range(3):
        await assert_open(breaker)
    operation.end()
    assert await probe == "reply"
    operations = [Pending() for _ in range(3)]
    concurrent = [await begin(breaker, operation) for operation in operations]
    for operation in operations:
        operation.end()
    assert await asyncio.gather(*concurrent) == ["reply"] * 3


async def test_a_failed_probe_opens_the_circuit_again_for_its_time(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    await half_open(breaker, clock)
    await fail(breaker)
    clock.now += OPEN_SECONDS - 0.1
    await assert_open(breaker)
    clock.now += 0.1
    assert await call(breaker) == "reply"


async def test_a_cancelled_probe_leaves_the_circuit_half_open(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    await half_open(breaker, clock)
    probe = await begin(breaker, Pending())
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert await call(breaker) == "reply"


async def test_a_probe_with_an_error_of_another_type_closes_the_circuit(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    await half_open(breaker, clock)
    with pytest.raises(LookupError):
        await call(breaker, fail_with(LookupError()))
    operation = Pending()
    slow = await begin(breaker, operation)
    assert await call(breaker) == "reply"
    operation.end()
    await slow


@pytest.mark.parametrize("error", [None, PaymentUnreachable("outage")])
async def test_a_call_from_before_the_circuit_opened_does_not_change_it(
    breaker: CircuitBreaker, clock: FakeClock, error: Exception | None
) -> None:
    """Its late success does not close the circuit, its late failure does not prolong it."""
    operation = Pending(error)
    slow = await begin(breaker, operation)
    await fail(breaker, THRESHOLD)
    clock.now += OPEN_SECONDS - 0.1
    operation.end()
    await asyncio.wait([slow])
    assert type(slow.exception()) is type(error)
    await assert_open(breaker)
    clock.now += 0.1
    assert await call(breaker) == "reply"
