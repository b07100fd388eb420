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
    """A worker that ends when it is told to and nothing holds it up."""

    def __init__(self, said: list[str], name: str = "worker") -> None:
        self.said, self.name = said, name
        self.told, self.free = asyncio.Event(), asyncio.Event()
        self.free.set()

    async def run(self) -> None:
        await self.told.wait()
        await self.free.wait()
        self.said.append(f"{self.name} ended")

    def stop(self) -> None:
        self.said.append(f"{self.name} told")
        self.told.set()


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


async def test_all_workers_but_the_relay_are_told_to_stop_before_any_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of these finishes only when all have been told; the relay is told when they ended."""
    said: list[str] = []
    workers = [Working(said, name) for name in "abc"]
    for one in workers:
        one.free = workers[-1].told
    await run_and_stop(monkeypatch, [*workers, Working(said, "relay")])
    assert said[:3] == ["a told", "b told", "c told"]
    assert said[3:] == ["a ended", "b ended", "c ended", "relay told", "relay ended"]


async def test_workers_that_do_not_end_share_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are; the relay still has its last pass."""
    monkeypatch.setattr(process, "_WORKER_SECONDS", 0.3)
    said: list[str] = []
    stuck = [Working(said) for _ in range(9)]
    for one in stuck:
        one.free.clear()
    began = asyncio.get_running_loop().time()
    await run_and_stop(monkeypatch, [*stuck, Working(said, "relay")])
    assert asyncio.get_running_loop().time() - began < 4 * 0.3
    assert said[-2:] == ["relay told", "relay ended"]


async def test_a_defect_of_a_worker_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """After everything was stopped."""
    said: list[str] = []

    class Broken(Working):
        async def run(self) -> None:
            raise ValueError(self.name)

    with pytest.raises(ValueError, match="broken"):
        await run_and_stop(monkeypatch, [Broken(said, "broken"), Working(said, "relay")])
    assert said[-2:] == ["relay told", "relay ended"]
