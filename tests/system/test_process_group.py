"""Several processes of a service share its address, and are supervised."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from devstack.commands import PROJECT, service_environment
from devstack.polling import wait_until
from notification.v1 import notification_service_pb2
from tests.system.drivers.effects import PAID
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.running_stack import RunningStack

PROCESSES = 3
PAGE = notification_service_pb2.ListNotificationsRequest(page_size=1)


def children(pid: int) -> set[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return {int(child) for child in found.split()}


def is_alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    return False


class Group:
    """A service that runs as several processes."""

    def __init__(self, stack: RunningStack, process: asyncio.subprocess.Process, log: Path) -> None:
        self._stack, self.process, self._log = stack, process, log

    def started(self) -> set[int]:
        """The process ids that the supervisor has logged."""
        entries = map(json.loads, self._log.read_text("utf-8").splitlines())
        return {entry["pid"] for entry in entries if entry["event"] == "process started"}

    def count(self, event: str) -> int:
        return self._log.read_text("utf-8").count(f'"event":"{event}"')

    async def until_serving(self, count: int) -> None:
        async def is_serving() -> bool:
            return self.count("serving") >= count

        await wait_until(is_serving, f"{count} processes have served", 60)

    async def call(self) -> None:
        """One call over a connection of its own."""
        async with self._stack.devstack.connect() as clients:
            await retry(lambda: clients.notifications.ListNotifications(PAGE), "a call")


async def start(stack: RunningStack, log: Path) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        **service_environment(stack.devstack, "notification"),
        **stack.devstack.settings.environment["notification"],
        "NOTIFICATION_PROCESSES": str(PROCESSES),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "gen")]),
    }
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "notification_svc",
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=output,
        )


@asynccontextmanager
async def notification_group(stack: RunningStack, directory: Path) -> AsyncIterator[Group]:
    """Notification as several processes; all are killed at the end."""
    if stack.devstack.is_running("notification"):
        await stack.devstack.terminate("notification")
    log = directory / "group.log"
    process = await start(stack, log)
    group = Group(stack, process, log)
    try:
        await group.until_serving(PROCESSES)
        yield group
    finally:
        if process.returncode is None:
            process.kill()  # the kernel kills the others
        await process.wait()


async def test_processes_share_the_work_and_end_together(
    disruptable_stack: RunningStack, tmp_path: Path
) -> None:
    """A mail is sent once; SIGTERM ends all of them in order."""
    async with notification_group(disruptable_stack, tmp_path) as group:
        pids = children(group.process.pid)
        assert len(pids) == PROCESSES
        assert group.started() == pids
        await asyncio.gather(*(group.call() for _ in range(4 * PROCESSES)))
        _, order_id, _ = await disruptable_stack.prepare_session()
        await disruptable_stack.wait_for_effects(order_id, PAID)
        group.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(group.process.wait(), 60) == 0
        assert not any(map(is_alive, pids))
        assert group.count("stopped") == PROCESSES
        assert group.count("broker permission denied") == 0


async def test_a_killed_process_is_replaced(
    disruptable_stack: RunningStack, tmp_path: Path
) -> None:
    async with notification_group(disruptable_stack, tmp_path) as group:
        victim, *others = children(group.process.pid)
        os.kill(victim, signal.SIGKILL)
        await group.until_serving(PROCESSES + 1)
        now = children(group.process.pid)
        assert len(now) == PROCESSES
        assert now.issuperset(others)
        await group.call()


async def test_the_processes_end_with_their_supervisor(
    disruptable_stack: RunningStack, tmp_path: Path
) -> None:
    """Otherwise a restart would find the address taken."""
    async with notification_group(disruptable_stack, tmp_path) as group:
        pids = children(group.process.pid)
        group.process.kill()

        async def all_ended() -> bool:
            return not any(map(is_alive, pids))

        await wait_until(all_ended, "all processes ended", 10)


async def test_a_second_group_does_not_share_the_address(
    disruptable_stack: RunningStack, tmp_path: Path
) -> None:
    """Its calls would be answered by either: exit status 1."""
    async with notification_group(disruptable_stack, tmp_path) as group:
        log = tmp_path / "second.log"
        second = await start(disruptable_stack, log)
        assert await asyncio.wait_for(second.wait(), 60) == 1
        assert "cannot listen on" in log.read_text("utf-8")
        await group.call()
