"""Connecting to the first of several hosts that accepts writes, whatever the others do."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from devstack.stack import Stack
from devstack.supervision.ports import LOOPBACK, Port
from runtime.database.connections import connect
from runtime.database_url import DatabaseUrl
from tests.integration.drivers.bus import ROLE


class SilentHost:
    """Accepts connections and never answers, as a machine that is suspended."""

    def __init__(self) -> None:
        self.address, self.asked_count = "", 0
        self.released = asyncio.Event()

    async def accept(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked_count += 1
        await self.released.wait()
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[SilentHost]:
    host = SilentHost()
    server = await asyncio.start_server(host.accept, LOOPBACK, 0)
    host.address = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    yield host
    host.released.set()
    server.close()


@pytest.fixture
def closed() -> str:
    """A host that refuses connections."""
    port = Port.claim(0)
    port.close()
    return port.address


def url(stack: Stack, *hosts: str, parameters: str = "") -> DatabaseUrl:
    """The test role's URL with these hosts; `*` is the stack's server."""
    own = DatabaseUrl.parse(stack.database_url(ROLE))
    names = ",".join(own.hosts if host == "*" else host for host in hosts)
    return DatabaseUrl.parse(f"postgresql://{own.login}@{names}/{own.database}?{parameters}")


async def connected(address: DatabaseUrl) -> bool:
    """Whether a connection can be opened and used."""
    connection = await connect(address, "test")
    try:
        return bool(await connection.fetchval("SELECT true"))
    finally:
        await connection.close()


async def test_a_silent_host_does_not_take_the_time_of_the_next_one(
    migrated_stack: Stack, silent: SilentHost
) -> None:
    """The time limit of connecting is that of one host."""
    assert await connected(url(migrated_stack, silent.address, "*"))
    assert silent.asked_count == 1


async def test_a_host_that_refuses_is_passed_over(migrated_stack: Stack, closed: str) -> None:
    assert await connected(url(migrated_stack, closed, closed, "*"))


async def test_the_hosts_are_asked_in_their_order(
    migrated_stack: Stack, silent: SilentHost
) -> None:
    """No host is asked after one that accepts writes."""
    assert await connected(url(migrated_stack, "*", silent.address))
    assert silent.asked_count == 0


async def test_a_host_that_refuses_writes_is_passed_over(
    migrated_stack: Stack, closed: str
) -> None:
    """If it is the only one, the error says so; otherwise it names what the others are about."""
    read_only = "options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await connected(url(migrated_stack, "*", parameters=read_only))
    with pytest.raises(ConnectionRefusedError):
        await connected(url(migrated_stack, closed, "*", parameters=read_only))
    assert await connected(
        url(migrated_stack, "*", parameters=f"{read_only}&target_session_attrs=any")
    )


async def test_without_any_host_that_answers_connecting_times_out(
    migrated_stack: Stack, silent: SilentHost
) -> None:
    """All connections that it opened are closed."""
    address = url(migrated_stack, silent.address, silent.address, parameters="connect_timeout=1")
    with pytest.raises(TimeoutError):
        await connected(address)
    assert silent.asked_count == 2
