"""The migrated schema of one service, without its processes: for its SQL and its workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.stack import Stack
from tests.integration.bus import engine_for


class ServiceDatabase:
    """One service's schema; `engine` has the rights of its runtime role."""

    def __init__(self, stack: Stack, service: str) -> None:
        self.service = service
        self._url = stack.database_url(f"{service}_runtime")
        self.engine = engine_for(self._url)
        self._superuser = engine_for(stack.superuser_url)

    def new_engine(self) -> AsyncEngine:
        """The engine of a further process; the caller disposes of it."""
        return engine_for(self._url)

    async def execute(self, statement: str, **values: Any) -> list[Any]:
        """Runs a statement as the superuser; the rows that it returns."""
        async with self._superuser.begin() as connection:
            result = await connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    async def value(self, query: str, **values: Any) -> Any:
        """The only value of a query, as the superuser."""
        [row] = await self.execute(query, **values)
        return row[0]

    async def close(self) -> None:
        await self.engine.dispose()
        await self._superuser.dispose()


@asynccontextmanager
async def open_database(
    stack: Stack, service: str, tables: tuple[str, ...]
) -> AsyncIterator[ServiceDatabase]:
    """The service's schema; these tables are emptied before and after."""
    database = ServiceDatabase(stack, service)
    truncate = f"TRUNCATE {', '.join(f'{service}.{table}' for table in tables)} CASCADE"
    try:
        await database.execute(truncate)
        yield database
        await database.execute(truncate)
    finally:
        await database.close()
