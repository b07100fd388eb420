"""The schemas of the services on a real PostgreSQL, empty before each test."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from devstack.stack import Stack
from interview_svc.storage import tables as interview_tables
from interview_svc.storage.unit_of_work import UnitOfWork as InterviewUnitOfWork
from notification_svc.storage import tables as notification_tables
from notification_svc.storage.unit_of_work import UnitOfWork as NotificationUnitOfWork
from payment_svc.storage import tables as payment_tables
from payment_svc.storage.unit_of_work import UnitOfWork as PaymentUnitOfWork
from runtime.database.transactions import Transactions
from tests.integration.bus import engine_for

SERVICES = ("payment", "interview", "notification")


@dataclass(frozen=True)
class ServiceDatabase:
    """The database of one service, as its runtime role sees it."""

    engine: AsyncEngine
    unit_of_work: Callable[[AsyncConnection], Any]

    @property
    def transactions(self) -> Transactions[Any]:
        """Opens units of work, as the service does."""
        return Transactions(self.engine, self.unit_of_work)

    async def execute(self, statement: str, **parameters: Any) -> None:
        """Executes a statement in a transaction of its own."""
        async with self.engine.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def value(self, query: str, **parameters: Any) -> Any:
        """The first column of the first row."""
        async with self.engine.connect() as connection:
            return await connection.scalar(text(query), parameters)


Databases = dict[str, ServiceDatabase]
_UNITS_OF_WORK: dict[str, Callable[[AsyncConnection], Any]] = {
    "payment": PaymentUnitOfWork,
    "interview": InterviewUnitOfWork,
    "notification": NotificationUnitOfWork,
}
# The catalogue and the tables of one row are part of the schema.
_FILLED_BY_MIGRATIONS = {"products", "outbox_published", "outbox_dropped", "payment_watermark"}
_TABLES = {
    table
    for module in (payment_tables, interview_tables, notification_tables)
    for table in module.metadata.tables.values()
    if table.name not in _FILLED_BY_MIGRATIONS
}


@pytest.fixture
async def databases(migrated_stack: Stack) -> AsyncIterator[Databases]:
    """The databases by service, without rows."""
    async with _opened(migrated_stack) as opened:
        yield opened


@pytest.fixture
def payment(databases: Databases) -> ServiceDatabase:
    return databases["payment"]


@pytest.fixture
def interview(databases: Databases) -> ServiceDatabase:
    return databases["interview"]


@asynccontextmanager
async def _opened(stack: Stack) -> AsyncIterator[Databases]:
    superuser = engine_for(stack.superuser_url)
    names = ", ".join(sorted(table.fullname for table in _TABLES))
    async with superuser.begin() as connection:
        await connection.execute(text(f"TRUNCATE {names}"))
    await superuser.dispose()
    opened = {
        name: ServiceDatabase(
            engine_for(stack.database_url(f"{name}_runtime")), _UNITS_OF_WORK[name]
        )
        for name in SERVICES
    }
    try:
        yield opened
    finally:
        for database in opened.values():
            await database.engine.dispose()
