"""`opsctl`, run as the installed program, or in a fork of a process that has imported it."""

import asyncio
import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Any

from devstack.commands import PROJECT
from tests.system.drivers.running_stack import RunningStack

PROGRAM = Path(sys.executable).parent / "opsctl"
_TIMEOUT = 60
# A test run in the background ignores Ctrl-C, and so would its child processes. The new process
# resets the signal itself: a preexec_fn would fork with gRPC's handlers, which sometimes abort it.
_WITH_DEFAULT_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Result:
    """Exit status, standard output and standard error of a command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def error_line(self) -> str:
        """The one line that a failed command prints, and nothing else."""
        assert self.status == 1, self
        assert self.out == "", self
        assert self.err.startswith("opsctl: "), self
        assert self.err.count("\n") == 1, self
        return self.err


async def start(
    *arguments: str, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Starts the installed program, without the OPSCTL_ variables of this process."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WITH_DEFAULT_SIGINT, str(PROGRAM)),
        *arguments,
        cwd=directory,
        env={**_environment(), **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process, stdin: str = "") -> Result:
    """Waits for the end of a command; it must not print a traceback."""
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), _TIMEOUT)
    except BaseException:
        process.kill()
        raise
    return _checked(Result(process.returncode or 0, out.decode(), err.decode()))


async def run(*arguments: str, stdin: str = "", **settings: Any) -> Result:
    """Runs the installed program to its end."""
    return await finish(await start(*arguments, **settings), stdin)


async def opsctl(stack: RunningStack, *arguments: str, stdin: str = "") -> Result:
    """Runs a command on a stack's data directory, in a fork: it starts in a tenth of the time."""
    arguments = ("--data-dir", str(stack.devstack.directory), *arguments)
    return _checked(await asyncio.to_thread(_run_in_fork, arguments, stdin))


_one_request = Lock()


def _run_in_fork(arguments: Sequence[str], stdin: str) -> Result:
    requests, replies = _forks()
    with _one_request:
        requests.write(json.dumps({"arguments": arguments, "stdin": stdin}) + "\n")
        requests.flush()
        return Result(*json.loads(replies.readline()))


@cache
def _forks() -> tuple[IO[str], IO[str]]:
    """The standard input and output of `opsctl_forks`, which ends with its standard input."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", Path(__file__).with_name("opsctl_forks.py")],
        env={**_environment(), "PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROJECT / "gen")))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _environment() -> dict[str, str]:
    """The variables of this process without those of `opsctl`, for a wide terminal."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("OPSCTL_")
    }
    return {**inherited, "COLUMNS": "200"}


def _checked(result: Result) -> Result:
    assert "Traceback" not in result.out + result.err, result
    return result
