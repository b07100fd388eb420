"""Finds out whether a connection pooler keeps the prepared statements of its clients.

A pooler in transaction mode gives each transaction any of its server processes. Of PgBouncer, 1.21
and later prepare a client's statements again where needed, if `max_prepared_statements` is set. All
others answer sooner or later that a prepared statement does not exist.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.transaction import Transaction
from ulid import ULID

from runtime.database.connections import connect
from runtime.database_url import DatabaseUrl

_PROCESS = "SELECT pg_backend_pid()"
_IS_VISIBLE = "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = $1)"
_QUERY_SECONDS = 5.0
# In transaction mode, a round may show nothing if other clients are active at the same moment.
_ROUNDS = 20


async def keeps_prepared_statements(url: DatabaseUrl, name: str) -> bool:
    """Whether a client finds a statement again that it has prepared: always so without a pooler.

    It is certain if it finds out that they are not kept: two clients have seen one server process,
    or one client two of them. In session mode no number of rounds shows that. Raises what asyncpg
    raises.
    """
    async with _client(url, name) as client:
        # A pooler hands out process ids of its own, with which clients cancel their queries.
        if await client.fetchval(_PROCESS) == client.get_server_pid():
            return True
        async with _client(url, name) as other:
            return await _compare(client, other)


@asynccontextmanager
async def _client(url: DatabaseUrl, name: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that prepares no statement by itself."""
    client = await connect(url, name, command_timeout=_QUERY_SECONDS, statement_cache_size=0)
    try:
        yield client
    finally:
        await client.close(timeout=_QUERY_SECONDS)


async def _compare(client: asyncpg.Connection, other: asyncpg.Connection) -> bool:
    prepared = str(ULID())
    async with _transaction(client):
        statement = await client.prepare(_PROCESS, name=prepared)
        process = await statement.fetchval()
    for _ in range(_ROUNDS):
        # A transaction keeps its server process, in every mode.
        async with _transaction(other):
            if await other.fetchval(_PROCESS) == process:
                return not await other.fetchval(_IS_VISIBLE, prepared)
        try:
            async with _transaction(client):
                if await client.fetchval(_PROCESS) != process:
                    await statement.fetchval()
                    return True
        except asyncpg.InvalidSQLStatementNameError:
            return False
    return True


def _transaction(client: asyncpg.Connection) -> Transaction:
    transaction: Transaction = client.transaction()
    return transaction
