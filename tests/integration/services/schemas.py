"""The schemas of the three services, as their processes and a superuser see them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import Select, Table, text

from devstack.servers.postgres import SERVICES
from devstack.stack import Stack
from tests.integration.bus import engine_for


class Schemas:
    """The pool of each service's runtime role, and the superuser's."""

    def __init__(self, stack: Stack) -> None:
        self.pools = {name: engine_for(stack.database_url(f"{name}_runtime")) for name in SERVICES}
        self._superuser = engine_for(stack.superuser_url)

    async def close(self) -> None:
        for pool in (*self.pools.values(), self._superuser):
            await pool.dispose()

    async def execute(self, statement: str) -> None:
        """Executes a statement as the superuser."""
        async with self._superuser.begin() as connection:
            await connection.execute(text(statement))

    async def values(self, query: Select[Any]) -> list[Any]:
        """The first column of a query's rows, as the superuser."""
        async with self._superuser.connect() as connection:
            return list((await connection.execute(query)).scalars())

    @asynccontextmanager
    async def refusing_outbox(self, table: Table) -> AsyncIterator[None]:
        """Makes every insert into the outbox of a table's service fail during the block."""
        insert = f"INSERT ON {table.schema}.outbox"
        await self.execute(f"REVOKE {insert} FROM {table.schema}_runtime")
        try:
            yield
        finally:
            await self.execute(f"GRANT {insert} TO {table.schema}_runtime")

    @asynccontextmanager
    async def refusing_commit(self, table: Table) -> AsyncIterator[None]:
        """Makes every commit with a change to a table fail during the block."""
        function = f"{table.schema}.refuse_commit"
        await self.execute(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'commit refused'; END $$"
        )
        await self.execute(
            f"CREATE CONSTRAINT TRIGGER refuse_commit AFTER INSERT OR UPDATE ON {table}"
            f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
        try:
            yield
        finally:
            await self.execute(f"DROP FUNCTION {function} CASCADE")


REFUSALS = (Schemas.refusing_outbox, Schemas.refusing_commit)
Refuse = Callable[[Schemas, Table], AbstractAsyncContextManager[None]]
