"""The real `opsctl`, run as an operator runs it."""

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
_SECONDS = 60
# Whoever runs the tests in the background ignores Ctrl-C; a person's shell doesn't. Done in the new
# process: a preexec_fn would have it forked with gRPC's handlers, which abort it now and then.
_HEEDING_INTERRUPTS = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def complaint(self) -> str:
        """The one line that a command which can't do its work leaves."""
        assert self.status == 1, self
        assert self.out == "", self
        assert self.err.startswith("opsctl: "), self
        assert self.err.count("\n") == 1, self
        return self.err


async def start(
    *arguments: str, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Starts the program, with none of the settings that happen to be around."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("OPSCTL_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HEEDING_INTERRUPTS, str(PROGRAM)),
        *arguments,
        cwd=directory,
        env={**told, "COLUMNS": "200", **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process, given: str = "") -> Said:
    """Waits for the program's end; it never leaves a traceback."""
    try:
        out, err = await asyncio.wait_for(process.communicate(given.encode()), _SECONDS)
    except BaseException:
        process.kill()
        raise
    said = Said(process.returncode or 0, out.decode(), err.decode())
    assert "Traceback" not in said.out + said.err, said
    return said


async def run(*arguments: str, given: str = "", **settings: Any) -> Said:
    """Runs the program to its end."""
    return await ended(await start(*arguments, **settings), given)


async def opsctl(stack: RunningStack, *arguments: str, given: str = "") -> Said:
    """Runs it on a stack's own data."""
    return await run("--data-dir", str(stack.devstack.directory), *arguments, given=given)
