"""Real servers for the tests: one PostgreSQL and one nats-server per worker, and a bus per test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from devstack.settings import Settings
from devstack.stack import Stack
from tests.integration.bus import Bus, OpenBus, open_bus

SERVERS = ("postgres", "nats")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL and NATS with nothing declared: each test declares what it needs."""
    directory = tmp_path_factory.mktemp("servers")
    nothing = directory / "topology.toml"
    nothing.write_text("[streams]\n[consumers]\n")
    settings = replace(Settings.on_free_ports(), fsync=False, topology=nothing)
    stack = Stack(directory / "stack", settings)
    try:
        asyncio.run(stack.start_only(SERVERS))
        yield stack
    finally:
        asyncio.run(stack.stop())
        asyncio.run(stack.clean())


@pytest.fixture
async def servers(stack: Stack) -> AsyncIterator[Stack]:
    """The same, to be disturbed: whatever a test ended or froze runs again after it."""
    yield stack
    for name in SERVERS:
        if stack.is_running(name):
            stack.resume(name)
        else:
            await stack.start(name)


@pytest.fixture
async def new_bus(servers: Stack) -> AsyncIterator[OpenBus]:
    """Opens a bus with a stream to a test's liking."""
    async with AsyncExitStack() as opened:

        async def make(**stream: object) -> Bus:
            return await opened.enter_async_context(open_bus(servers, **stream))

        yield make


@pytest.fixture
async def bus(new_bus: OpenBus) -> Bus:
    """A test's own schema, stream and durable consumer."""
    return await new_bus()
