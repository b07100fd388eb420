"""One transaction of notification."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from notification_svc.storage.repositories import NotificationRows


class UnitOfWork:
    """The repository over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.notifications = NotificationRows(connection)

    async def clock(self) -> datetime:
        """The database's clock: all processes that send mails go by this one."""
        moment: datetime = (await self._connection.execute(select(func.now()))).scalar_one()
        return moment


class Database:
    """notification's transactions."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """Commits at the end of the block, or rolls back if it raises."""
        async with self._engine.begin() as connection:
            yield UnitOfWork(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[UnitOfWork]:
        """For queries only."""
        async with self._engine.connect() as connection:
            yield UnitOfWork(connection)
