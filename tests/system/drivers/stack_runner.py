"""Runs stacks for tests, and single programs of a stack until they exit."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from devstack.servers.postgres_installation import Installation
from devstack.settings import Settings
from devstack.stack import Stack
from devstack.supervision.processes import Program

_EXIT_SECONDS = 60


@asynccontextmanager
async def running(directory: Path, settings: Settings) -> AsyncIterator[Stack]:
    """Runs a stack. Its files outside the directory are removed afterwards; its logs are kept."""
    try:
        async with Stack(directory, settings) as stack:
            yield stack
    finally:
        Installation(directory).remove()


@asynccontextmanager
async def running_parts(
    directory: Path, settings: Settings, components: Iterable[str]
) -> AsyncIterator[Stack]:
    """Runs only some components of a stack, as `running` does; a test may start others."""
    stack = Stack(directory, settings)
    try:
        await stack.start_only(components)
        yield stack
    finally:
        await stack.stop()
        Installation(directory).remove()


async def run_to_end(program: Program, environment: Mapping[str, str]) -> tuple[int, str]:
    """Returns exit status and output of a program; `environment` overrides its settings.

    Kills the program if it does not exit in time.
    """
    process = await asyncio.create_subprocess_exec(
        *program.command,
        env={**os.environ, **program.environment, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _EXIT_SECONDS)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode()
