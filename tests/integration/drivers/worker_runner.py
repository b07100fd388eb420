"""Runs workers of the bus beside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

_STOP_SECONDS = 30.0


class Worker(Protocol):
    """A relay or a consumer."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    """Runs workers during the block, then stops them gracefully; an error of theirs is raised."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        done, unfinished = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        await _end(unfinished)
    assert not unfinished, "a worker did not stop in time"
    for task in done:
        task.result()


@asynccontextmanager
async def crashing(worker: Worker) -> AsyncIterator[None]:
    """Runs a worker during the block, then ends it abruptly, as a kill would."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await _end({task})
    assert task.done(), "a worker cannot be cancelled"
    if not task.cancelled() and (error := task.exception()):
        raise error


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancels repeatedly: asyncio.wait_for of Python 3.11 may suppress a cancellation."""
    for _ in range(100):
        for task in tasks:
            task.cancel()
        if not tasks or not (await asyncio.wait(tasks, timeout=0.2))[1]:
            return
