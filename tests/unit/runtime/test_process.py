"""Stopping: workers finish side by side within one time, and the relay after them."""

import asyncio
from typing import Any

import pytest

from runtime import process
from runtime.process import Process
from runtime.service_name import ServiceName


class Part:
    """Engine, broker, server, metrics and settings of a process that has none of them."""

    metrics_listen, startup_timeout_seconds, shutdown_grace_seconds = "", 1.0, 0.0

    async def start(self) -> int:
        return 0

    async def stop(self, _grace_seconds: float) -> None: ...

    async def dispose(self) -> None: ...

    async def close(self) -> None: ...

    def open(self) -> None: ...


class Silent(Part):
    def listen(self, _address: str) -> None: ...

    def close(self) -> None: ...  # type: ignore[override]


class Working:
    """A worker that ends after `stop`, once it is released."""

    def __init__(self, log: list[str], name: str = "worker") -> None:
        self.log, self.name = log, name
        self.stopping, self.released = asyncio.Event(), asyncio.Event()
        self.released.set()

    async def run(self) -> None:
        await self.stopping.wait()
        await self.released.wait()
        self.log.append(f"{self.name} ended")

    def stop(self) -> None:
        self.log.append(f"{self.name} stopping")
        self.stopping.set()


async def run_and_stop(monkeypatch: pytest.MonkeyPatch, workers: list[Any]) -> None:
    async def ready(*_: object) -> None: ...

    monkeypatch.setattr(process, "wait_until_ready", ready)
    part: Any = Part()
    metrics: Any = Silent()
    stop = asyncio.Event()
    stop.set()
    await Process(
        part, ServiceName("none"), part, part, part, workers[:-1], workers[-1], metrics
    ).run(stop)


async def test_all_workers_but_the_relay_are_stopped_before_any_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of these finishes only when all are stopping; the relay is stopped after they ended."""
    log: list[str] = []
    workers = [Working(log, name) for name in "abc"]
    for worker in workers:
        worker.released = workers[-1].stopping
    await run_and_stop(monkeypatch, [*workers, Working(log, "relay")])
    assert log[:3] == ["a stopping", "b stopping", "c stopping"]
    assert log[3:] == ["a ended", "b ended", "c ended", "relay stopping", "relay ended"]


async def test_workers_that_do_not_end_share_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are; the relay still has its last pass."""
    monkeypatch.setattr(process, "_WORKER_SECONDS", 0.3)
    log: list[str] = []
    stuck = [Working(log) for _ in range(9)]
    for worker in stuck:
        worker.released.clear()
    began = asyncio.get_running_loop().time()
    await run_and_stop(monkeypatch, [*stuck, Working(log, "relay")])
    assert asyncio.get_running_loop().time() - began < 4 * 0.3
    assert log[-2:] == ["relay stopping", "relay ended"]


async def test_a_defect_of_a_worker_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """After everything was stopped."""
    log: list[str] = []

    class Broken(Working):
        async def run(self) -> None:
            raise ValueError(self.name)

    with pytest.raises(ValueError, match="broken"):
        await run_and_stop(monkeypatch, [Broken(log, "broken"), Working(log, "relay")])
    assert log[-2:] == ["relay stopping", "relay ended"]
