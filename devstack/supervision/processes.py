"""Child processes: started tethered to us, logged, watched, ended in bounded time.

Each running child has a file in `pids/`. When the stack was killed and something of it outlived
that, the next start finds it there, makes sure that it is the same process, and ends it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devstack.errors import DevstackError, NotReadyError, ProcessFailedError
from devstack.supervision.orphans import Orphan
from devstack.supervision.process_identity import children_of, identify

_EXEC_WITH_PARENT = Path(__file__).with_name("exec_with_parent.py")
_POLL = 0.02
_TAIL_LINES = 25
_GRACE = 15.0
_KILL_LIMIT = 10.0


@dataclass(frozen=True)
class Program:
    """What to run, and how it wants to be ended."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    user: str = ""
    """`uid:gid` to drop to, empty to stay who we are."""
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What it gets when we die ourselves."""


class Log:
    """A log file of one process name; knows where its present run begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0

    def set_aside(self) -> None:
        """Keeps what former runs wrote as the one previous log."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".previous.log"))

    def open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._start = os.fstat(file).st_size
        return file

    def tail(self) -> str:
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(self._start)
            lines = file.read().decode(errors="replace").splitlines()
            return "\n".join(lines[-_TAIL_LINES:])
        return ""


class Process:
    """One running program. Start it from a thread that lives as long as it shall live."""

    def __init__(self, program: Program, log: Log, pid_file: Path) -> None:
        self.program = program
        self.log = log
        self._pid_file = pid_file
        self._child = self._spawn()
        self._record()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._child.poll()

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = self.program
        tether = [sys.executable, "-I", "-S", str(_EXEC_WITH_PARENT), str(os.getpid())]
        tether += [str(int(program.orphan_signal)), program.user, str(program.directory)]
        output = self.log.open()
        try:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*tether, *program.command],
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A Ctrl-C in the terminal is for us alone; we end the children in order.
                start_new_session=True,
            )
        finally:
            os.close(output)

    def _record(self) -> None:
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        entry = {
            "pid": self.pid,
            "identity": identify(self.pid) or "",
            "stop_signal": int(self.program.stop_signal),
        }
        self._pid_file.write_text(json.dumps(entry))

    def signal(self, number: signal.Signals) -> None:
        if self.status is None:
            self._child.send_signal(number)

    async def wait(self, limit: float) -> bool:
        """Waits for its end; False if it didn't come in time."""
        deadline = time.monotonic() + limit
        while self.status is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL)
        self._pid_file.unlink(missing_ok=True)
        return True

    async def kill(self) -> None:
        """Kills it with what it started: orphans of PostgreSQL would block its next start."""
        if self.status is None:
            self.signal(signal.SIGSTOP)  # from now on it starts no more, and reaps none
            children = children_of(self.pid)  # PostgreSQL's have left its process group
            os.killpg(self.pid, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        if not await self.wait(_KILL_LIMIT):
            raise DevstackError(f"{self.program.name} (process {self.pid}) can't be killed")

    async def terminate(self, grace: float = _GRACE) -> None:
        self.signal(self.program.stop_signal)
        self.signal(signal.SIGCONT)  # a suspended one hears nothing else
        if not await self.wait(grace):
            await self.kill()

    async def until(self, ready: Callable[[], Awaitable[bool]], limit: float) -> None:
        """Waits until `ready`; an early end or too long a wait is an error."""
        deadline = time.monotonic() + limit
        while not await ready():
            if self.status is not None:
                raise self._failure(self.status)
            if time.monotonic() > deadline:
                raise NotReadyError(self.program.name, limit, self.log.path, self.log.tail())
            await asyncio.sleep(_POLL)
        # Something else may have answered in its place, on a port that it didn't get.
        if self.status is not None:
            raise self._failure(self.status)

    async def until_done(self, limit: float) -> None:
        """Waits for its successful end."""
        if not await self.wait(limit):
            raise NotReadyError(self.program.name, limit, self.log.path, self.log.tail())
        if self.status:
            raise self._failure(self.status)

    def _failure(self, status: int) -> ProcessFailedError:
        return ProcessFailedError(self.program.name, status, self.log.path, self.log.tail())


class Supervisor:
    """Starts programs and keeps book of them under one data directory."""

    def __init__(self, directory: Path) -> None:
        self._pids = directory / "pids"
        self._directory = directory / "logs"
        self._logs: dict[str, Log] = {}

    def spawn(self, program: Program) -> Process:
        log = self._log(program.name)
        return Process(program, log, self._pids / f"{program.name}.json")

    async def run(self, program: Program, limit: float) -> None:
        """Runs a one-time step to its end; one that is called off is killed."""
        process = self.spawn(program)
        try:
            await process.until_done(limit)
        finally:
            await process.kill()

    def _log(self, name: str) -> Log:
        if name not in self._logs:
            self._logs[name] = Log(self._directory / f"{name}.log")
            self._logs[name].set_aside()
        return self._logs[name]

    async def end_leftovers(self) -> list[str]:
        """Ends what a killed stack left behind; tells what that was."""
        left = [Orphan.read(file) for file in sorted(self._pids.glob("*.json"))]
        return [leftover.name for leftover in left if leftover and await leftover.end()]
