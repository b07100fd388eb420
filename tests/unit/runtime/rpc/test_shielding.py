"""Shielded work has no deadline of its caller, and its failure is logged."""

import asyncio

import pytest
import structlog

from devstack.polling import wait_until
from runtime.rpc.deadlines import deadline, seconds_left
from runtime.rpc.shielding import CancellationShield


async def test_the_work_is_not_bound_by_its_callers_deadline() -> None:
    async def work() -> float | None:
        return seconds_left()

    async with deadline(1.0, 30.0):
        assert await CancellationShield().run(work()) is None
        assert seconds_left() is not None


async def test_a_failure_after_the_caller_left_is_logged() -> None:
    """Nobody else is there to hear of it."""
    begun, proceed = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await proceed.wait()
        raise ValueError("the charge failed")

    with structlog.testing.capture_logs() as logs:
        calling = asyncio.create_task(CancellationShield().run(work()))
        await begun.wait()
        calling.cancel()
        await asyncio.wait({calling})
        proceed.set()

        async def look() -> bool:
            return bool(logs)

        await wait_until(look, "a line in the log")
    assert [(line["event"], str(line["exc_info"])) for line in logs] == [
        ("shielded work failed after the call was cancelled", "the charge failed")
    ]


async def test_what_fails_while_the_caller_waits_is_the_callers() -> None:
    async def work() -> None:
        raise ValueError("no")

    with structlog.testing.capture_logs() as logs, pytest.raises(ValueError, match="no"):
        await CancellationShield().run(work())
    assert logs == []
