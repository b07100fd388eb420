"""Processes that outlive a killed stack: recorded while they run, terminated by the next start.

A pid file identifies a process by its id and its start time. A process that got the id later has
another start time, so it is never signalled.
"""

import asyncio
import contextlib
import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from devstack.errors import DevstackError

_POLL_SECONDS = 0.02
_GRACE_SECONDS = 15.0
_KILL_SECONDS = 10.0


def write_pid_file(file: Path, pid: int, stop_signal: signal.Signals) -> None:
    """Records a child process and the signal that stops it; nothing if it has exited already."""
    try:
        start_time = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    entry = {"pid": pid, "start_time": start_time, "stop_signal": int(stop_signal)}
    file.write_text(json.dumps(entry))


@dataclass(frozen=True)
class Orphan:
    """A process of a previous stack that still runs."""

    name: str
    process: psutil.Process
    stop_signal: int

    @classmethod
    def find(cls, file: Path) -> Self | None:
        """Returns the process recorded in a pid file; None if it no longer runs."""
        try:
            entry = json.loads(file.read_text())
            process = psutil.Process(entry["pid"])
            if process.create_time() != entry["start_time"]:
                return None
            orphan = cls(file.stem, process, entry["stop_signal"])
        # ValueError, TypeError, KeyError: the stack was killed while it wrote the file.
        except (OSError, ValueError, TypeError, KeyError, psutil.NoSuchProcess):
            return None
        return orphan if orphan.is_alive else None

    @property
    def is_alive(self) -> bool:
        """False also for a dead process that its parent has not reaped."""
        try:
            status = self.process.status()
        except psutil.NoSuchProcess:
            return False
        return self.process.is_running() and status not in {
            psutil.STATUS_ZOMBIE,
            psutil.STATUS_DEAD,
        }

    async def terminate(self) -> None:
        """Sends the stop signal, and SIGKILL if the process does not exit in time.

        Raises DevstackError if the process cannot be killed.
        """
        with contextlib.suppress(psutil.AccessDenied):  # reported below
            if await self._exits_after(self.stop_signal, _GRACE_SECONDS):
                return
            if await self._exits_after(signal.SIGKILL, _KILL_SECONDS):
                return
        raise DevstackError(
            f"{self.name} (process {self.process.pid}) of a killed stack cannot be killed"
        )

    async def _exits_after(self, signal_number: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        for number in (signal_number, signal.SIGCONT):  # a suspended process handles no signal
            with contextlib.suppress(psutil.NoSuchProcess):
                self.process.send_signal(number)
        while self.is_alive:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True
