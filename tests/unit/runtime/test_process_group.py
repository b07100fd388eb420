"""The processes of a group are started, replaced and stopped; here they are small programs."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devstack.polling import wait_until
from runtime import logging, process_group
from runtime.addresses import PortTaken
from runtime.process_group import ProcessGroup
from runtime.service_name import ServiceName

NAME = ServiceName("payment")
READY = "import os, signal, sys, time; sys.stderr.write('ready\\n'); sys.stderr.flush();"


class Group:
    """A group of small programs; `lines` are the lines that they logged."""

    def __init__(self, config: Any, lines: list[str]) -> None:
        self.group, self.lines, self.stop = ProcessGroup(NAME, config), lines, asyncio.Event()

    async def until_logged(self, line: str, count: int) -> None:
        async def is_logged() -> bool:
            return self.lines.count(line) >= count

        await wait_until(is_logged, f"{count} times {line!r}")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    monkeypatch.setattr(
        logging, "write_lines", lambda data: written.extend(data.decode().splitlines())
    )
    monkeypatch.setattr(process_group, "_RESTART_SECONDS", 0.01)
    return written


def settings(
    processes: int = 2, listen: str = "127.0.0.1:1", metrics_listen: str = "127.0.0.1:9100"
) -> Any:
    return SimpleNamespace(
        processes=processes,
        listen=listen,
        internal_listen="",
        metrics_listen=metrics_listen,
        startup_timeout_seconds=60.0,
        shutdown_grace_seconds=0.0,
    )


@asynccontextmanager
async def running(
    monkeypatch: pytest.MonkeyPatch, lines: list[str], program: str, **config: Any
) -> AsyncIterator[tuple[Group, asyncio.Task[None]]]:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", READY + program])
    group = Group(settings(**config), lines)
    task = asyncio.create_task(group.group.run(group.stop))
    try:
        yield group, task
    finally:
        group.stop.set()
        await asyncio.wait({task})


async def test_processes_are_stopped_together(
    monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    async with running(monkeypatch, lines, "time.sleep(60)") as (group, task):
        await group.until_logged("ready", 2)
        group.stop.set()
        await task
    assert group.group.exit_status == 0


@pytest.mark.parametrize(
    ("metrics_listen", "share"),
    [
        ("127.0.0.1:9100", ["127.0.0.1:9100", "127.0.0.1:9101"]),
        ("[::1]:9100", ["[::1]:9100", "[::1]:9101"]),
        (":0", [":0", ":0"]),  # each takes a free one
    ],
)
async def test_each_process_knows_its_share_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, lines: list[str], metrics_listen: str, share: list[str]
) -> None:
    show = "names = 'PROCESSES REUSE_PORT METRICS_LISTEN'.split();"
    show += (
        "print(*[os.environ['PAYMENT_' + name] for name in names], file=sys.stderr, flush=True);"
    )
    program = show + "time.sleep(60)"
    async with running(monkeypatch, lines, program, metrics_listen=metrics_listen) as (group, _):
        for address in share:
            await group.until_logged(f"1 true {address}", share.count(address))


async def test_a_process_that_does_not_stop_is_killed(
    monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setattr(process_group, "_STOP_SECONDS", 0.2)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', file=sys.stderr);"
    deaf += "sys.stderr.flush(); time.sleep(60)"
    async with running(monkeypatch, lines, deaf) as (group, task):
        await group.until_logged("deaf", 2)
        group.stop.set()
        await task
    assert group.group.exit_status == 1


async def test_a_process_that_cannot_start_ends_the_group_with_its_status(
    monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    async with running(monkeypatch, lines, "sys.exit(3)") as (group, task):
        await task
    assert group.group.exit_status == 3


async def test_a_replacement_that_cannot_start_yet_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, lines: list[str], tmp_path: Path
) -> None:
    """The others go on: they survive an outage in which none could start."""
    once = f"import pathlib; first = pathlib.Path('{tmp_path}/first');"
    once += "again = first.exists(); first.touch();"
    once += "sys.exit(1) if again else os.kill(os.getpid(), signal.SIGKILL)"
    async with running(monkeypatch, lines, once, processes=1) as (group, task):
        await group.until_logged("ready", 4)
        assert not task.done()


async def test_long_lines_of_several_processes_stay_whole(
    monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    noise = "[sys.stderr.write(chr(65 + os.getpid() % 26) * 100_000 + '\\n') for _ in range(20)];"
    async with running(monkeypatch, lines, noise + "sys.stderr.flush(); time.sleep(60)"):

        async def all_read() -> bool:
            return len(lines) == 42

        await wait_until(all_read, "all lines")
    long = [line for line in lines if line != "ready"]
    assert {len(line) for line in long} == {100_000}
    assert all(len(set(line)) == 1 for line in long)


async def test_two_groups_do_not_share_an_address(
    monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    """Also before a process of the first one listens."""
    async with running(monkeypatch, lines, "time.sleep(60)") as (group, _):
        await group.until_logged("ready", 2)
        with pytest.raises(PortTaken, match="cannot listen on"):
            await ProcessGroup(NAME, settings()).run(asyncio.Event())
