"""Running a worker of the bus beside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

_LIMIT = 30.0


class Worker(Protocol):
    """A relay or a consumer."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    """Runs workers during the block, then stops them in good order; a defect of theirs shows."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        done, late = await asyncio.wait(tasks, timeout=_LIMIT)
        await _end(late)
    assert not late, "a worker didn't stop in time"
    for task in done:
        task.result()


@asynccontextmanager
async def crashing(worker: Worker) -> AsyncIterator[None]:
    """Runs a worker during the block and then ends it as a kill would: in the middle."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await _end({task})
    assert task.done(), "a worker can't be cancelled"
    if not task.cancelled() and (error := task.exception()):
        raise error


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancels until it is heard: asyncio.wait_for of Python 3.11 can swallow a cancellation."""
    for _ in range(100):
        for task in tasks:
            task.cancel()
        if not tasks or not (await asyncio.wait(tasks, timeout=0.2))[1]:
            return
