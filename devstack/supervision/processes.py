"""Child processes: they end with the parent, log to files, and are stopped in bounded time.

Each running child has a pid file in `pids/`. If the stack is killed and a child survives, the next
start finds the child by that file and terminates it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from devstack.errors import DevstackError, NotReadyError, ProcessFailedError
from devstack.supervision.orphans import Orphan, write_pid_file

_EXEC_WITH_PARENT = Path(__file__).with_name("exec_with_parent.py")
_POLL_SECONDS = 0.02
_TAIL_LINES = 25
_GRACE_SECONDS = 15.0
_KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Program:
    """A command line with its environment, and the signals that end it.

    Attributes:
        name: Name of the component or step; also of its log and pid file.
        command: Executable and arguments.
        environment: Variables added to those of this process.
        directory: Working directory.
        user: `uid:gid` to switch to; empty for the current user.
        stop_signal: Requests an orderly stop.
        orphan_signal: Sent by the kernel when this process dies; Linux only.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    user: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL


class ProcessLog:
    """The log file of one program, with the position where the current run begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0

    def rotate(self) -> None:
        """Keeps the log of the run before as the previous log; older ones are removed."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".previous.log"))

    def open(self) -> int:
        """Opens the log for the output of a new run; returns the file descriptor."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._start = os.fstat(file).st_size
        return file

    def tail(self) -> str:
        """The last lines of the current run."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(self._start)
            lines = file.read().decode(errors="replace").splitlines()
            return "\n".join(lines[-_TAIL_LINES:])
        return ""


class Process:
    """One child process. On Linux it ends with the thread that started it."""

    def __init__(self, program: Program, log: ProcessLog, pid_file: Path) -> None:
        self.program = program
        self.log = log
        self._pid_file = pid_file
        self._child = self._spawn()
        write_pid_file(pid_file, self.pid, program.stop_signal)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        """None while the process runs; negative if a signal ended it."""
        return self._child.poll()

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = self.program
        wrapper = [sys.executable, "-I", "-S", str(_EXEC_WITH_PARENT), str(os.getpid())]
        wrapper += [str(int(program.orphan_signal)), program.user, str(program.directory)]
        output = self.log.open()
        try:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*wrapper, *program.command],
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in the terminal reaches this process only, which stops them in order.
                start_new_session=True,
            )
        finally:
            os.close(output)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; does nothing if the process has exited."""
        if self.exit_status is None:
            self._child.send_signal(number)

    async def wait_for_exit(self, seconds: float) -> bool:
        """Waits until the process exits; False if it still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.exit_status is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        self._pid_file.unlink(missing_ok=True)
        return True

    async def kill(self) -> None:
        """Kills the process and its children; children of PostgreSQL would block its next start.

        Raises DevstackError if the process does not exit.
        """
        if self.exit_status is None:
            self._kill_with_children()
        if not await self.wait_for_exit(_KILL_SECONDS):
            raise DevstackError(f"{self.program.name} (process {self.pid}) cannot be killed")

    def _kill_with_children(self) -> None:
        self.signal(signal.SIGSTOP)  # a stopped process starts and reaps no more children
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            # PostgreSQL's children have process groups of their own.
            children = psutil.Process(self.pid).children()
            os.killpg(self.pid, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()

    async def terminate(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        """Sends the stop signal; kills the process if it does not exit in time."""
        self.signal(self.program.stop_signal)
        self.signal(signal.SIGCONT)  # a suspended process handles no signal
        if not await self.wait_for_exit(grace_seconds):
            await self.kill()

    async def wait_until_ready(
        self, is_ready: Callable[[], Awaitable[bool]], seconds: float
    ) -> None:
        """Waits until `is_ready`; raises ProcessFailedError on exit, NotReadyError on timeout."""
        deadline = time.monotonic() + seconds
        while not await is_ready():
            self._raise_if_exited()
            if time.monotonic() > deadline:
                raise NotReadyError(self.program.name, seconds, self.log.path, self.log.tail())
            await asyncio.sleep(_POLL_SECONDS)
        # Another program may have answered, on a port that this one could not take.
        self._raise_if_exited()

    async def wait_for_success(self, seconds: float) -> None:
        """Waits until the process exits with status 0; raises like `wait_until_ready`."""
        if not await self.wait_for_exit(seconds):
            raise NotReadyError(self.program.name, seconds, self.log.path, self.log.tail())
        if self.exit_status:
            self._raise_if_exited()

    def _raise_if_exited(self) -> None:
        if (status := self.exit_status) is not None:
            raise ProcessFailedError(self.program.name, status, self.log.path, self.log.tail())


class Supervisor:
    """Starts programs, with their logs and pid files under one data directory."""

    def __init__(self, directory: Path) -> None:
        self._pid_directory = directory / "pids"
        self._log_directory = directory / "logs"
        self._logs: dict[str, ProcessLog] = {}

    def spawn(self, program: Program) -> Process:
        """Starts a program and returns at once."""
        pid_file = self._pid_directory / f"{program.name}.json"
        return Process(program, self._log(program.name), pid_file)

    async def run(self, program: Program, seconds: float) -> None:
        """Runs a one-time step until it succeeds; kills it on timeout or cancellation."""
        process = self.spawn(program)
        try:
            await process.wait_for_success(seconds)
        finally:
            await process.kill()

    def _log(self, name: str) -> ProcessLog:
        if name not in self._logs:
            self._logs[name] = ProcessLog(self._log_directory / f"{name}.log")
            self._logs[name].rotate()
        return self._logs[name]

    async def terminate_orphans(self) -> list[str]:
        """Terminates the processes that a killed stack left running; returns their names."""
        names = []
        for file in sorted(self._pid_directory.glob("*.json")):
            if orphan := Orphan.find(file):
                await orphan.terminate()
                names.append(orphan.name)
            file.unlink()
        return names
