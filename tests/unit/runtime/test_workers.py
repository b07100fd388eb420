"""Polling workers: rounds at an interval, at once when woken, until stopped."""

import asyncio

from devstack.polling import wait_until
from runtime.workers import PollingWorker

NEVER = 3600.0


class Rounds:
    """Counts rounds; the first ones may fail, or report more work."""

    def __init__(self, failures: int = 0, with_more: int = 0) -> None:
        self.count, self._failures, self._with_more = 0, failures, with_more

    async def run(self) -> bool:
        self.count += 1
        if self.count <= self._failures:
            raise OSError("the database is away")
        return self.count <= self._with_more

    async def wait_for(self, count: int) -> None:
        async def reached() -> bool:
            return self.count >= count

        await wait_until(reached, f"{count} rounds", 5)


async def stop(worker: PollingWorker, running: asyncio.Task[None]) -> None:
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_the_first_round_is_immediate_and_the_next_follows_a_wake_up() -> None:
    rounds = Rounds()
    worker = PollingWorker("test", NEVER, rounds.run)
    running = asyncio.create_task(worker.run())
    await rounds.wait_for(1)
    worker.wake()
    await rounds.wait_for(2)
    await stop(worker, running)
    assert rounds.count == 2


async def test_without_run_immediately_the_first_round_waits() -> None:
    rounds = Rounds()
    worker = PollingWorker("test", NEVER, rounds.run, run_immediately=False)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    await stop(worker, running)
    assert rounds.count == 0


async def test_rounds_follow_without_a_pause_while_there_is_more_work() -> None:
    rounds = Rounds(with_more=4)
    worker = PollingWorker("test", NEVER, rounds.run)
    running = asyncio.create_task(worker.run())
    await rounds.wait_for(5)
    await stop(worker, running)
    assert rounds.count == 5


async def test_a_failed_round_is_repeated_after_the_interval() -> None:
    rounds = Rounds(failures=2)
    worker = PollingWorker("test", 0.001, rounds.run)
    running = asyncio.create_task(worker.run())
    await rounds.wait_for(3)
    await stop(worker, running)


async def test_a_stopped_worker_finishes_the_round_in_hand_and_begins_no_other() -> None:
    started, finish = asyncio.Event(), asyncio.Event()
    finished = 0

    async def work() -> bool:
        nonlocal finished
        started.set()
        await finish.wait()
        finished += 1
        return True

    worker = PollingWorker("test", NEVER, work)
    running = asyncio.create_task(worker.run())
    await started.wait()
    worker.stop()
    finish.set()
    await asyncio.wait_for(running, 5)
    assert finished == 1
