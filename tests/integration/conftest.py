"""Real servers: one PostgreSQL and one nats-server per pytest worker, and one bus per test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from devstack.servers.postgres import SERVICES
from devstack.settings import Settings
from devstack.stack import Stack
from tests.integration.drivers.bus import Bus, OpenBus, open_bus

SERVERS = ("postgres", "nats")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL and NATS without streams and consumers: each test declares its own."""
    directory = tmp_path_factory.mktemp("servers")
    topology = directory / "topology.toml"
    topology.write_text("[streams]\n[consumers]\n")
    settings = replace(Settings.on_free_ports(), fsync=False, topology=topology)
    stack = Stack(directory / "stack", settings)
    try:
        asyncio.run(stack.start_only(SERVERS))
        yield stack
    finally:
        asyncio.run(stack.stop())
        asyncio.run(stack.clean())


@pytest.fixture(scope="session")
def migrated_stack(stack: Stack) -> Stack:
    """The same servers with the schemas of all services; payment's grants come first."""
    asyncio.run(stack.migrate(*SERVICES))
    return stack


@pytest.fixture
async def servers(stack: Stack) -> AsyncIterator[Stack]:
    """The same servers; those that a test killed or suspended run again after it."""
    yield stack
    for name in SERVERS:
        if stack.is_running(name):
            stack.resume(name)
        else:
            await stack.start(name)


@pytest.fixture
async def new_bus(servers: Stack) -> AsyncIterator[OpenBus]:
    """Opens a bus whose stream has the options that a test gives."""
    async with AsyncExitStack() as opened:

        async def make(**stream: object) -> Bus:
            return await opened.enter_async_context(open_bus(servers, **stream))

        yield make


@pytest.fixture
async def bus(new_bus: OpenBus) -> Bus:
    """A schema, stream and durable consumer for one test."""
    return await new_bus()
