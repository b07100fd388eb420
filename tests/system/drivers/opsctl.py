"""The installed `opsctl`, run as a process."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Starts a command, without the OPSCTL_ variables of this process."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("OPSCTL_")
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WITH_DEFAULT_SIGINT, str(PROGRAM)),
        *arguments,
        cwd=directory,
        env={**inherited, "COLUMNS": "200", **(environment or {})},
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
    result = Result(process.returncode or 0, out.decode(), err.decode())
    assert "Traceback" not in result.out + result.err, result
    return result


async def run(*arguments: str, stdin: str = "", **settings: Any) -> Result:
    """Runs a command to its end."""
    return await finish(await start(*arguments, **settings), stdin)


async def opsctl(stack: RunningStack, *arguments: str, stdin: str = "") -> Result:
    """Runs a command on a stack's data directory."""
    return await run("--data-dir", str(stack.devstack.directory), *arguments, stdin=stdin)
