"""Stacks for one session of tests, and programs of a stack run by themselves to their end."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from devstack.servers.postgres_installation import Installation
from devstack.settings import Settings
from devstack.stack import Stack
from devstack.supervision.processes import Program

_SECONDS = 60


@asynccontextmanager
async def running(directory: Path, settings: Settings) -> AsyncIterator[Stack]:
    """A running stack. What it had to keep outside its directory goes; its logs stay."""
    try:
        async with Stack(directory, settings) as stack:
            yield stack
    finally:
        Installation(directory).remove()


async def run_to_end(program: Program, environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit status and all output of a program with other settings; killed if it doesn't end."""
    process = await asyncio.create_subprocess_exec(
        *program.command,
        env={**os.environ, **program.environment, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode()
