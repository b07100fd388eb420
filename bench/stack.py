"""The stack that is measured: on free ports, in a temporary directory, durable as in production."""

import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from devstack.components import COMPONENTS
from devstack.settings import Settings
from devstack.stack import Stack


@asynccontextmanager
async def bench_stack(components: Iterable[str] = COMPONENTS) -> AsyncIterator[Stack]:
    """Starts the given components; PostgreSQL and JetStream sync every commit to disk."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        stack = Stack(Path(name) / "stack", Settings.on_free_ports())
        await stack.start_only(components)
        try:
            yield stack
        finally:
            await stack.stop()
            await stack.clean()
