"""The migrated schemas of the services, without their processes: for their SQL and workers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import Select, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from devstack.servers.postgres import SERVICES
from devstack.stack import Stack
from interview_svc.storage.unit_of_work import UnitOfWork as InterviewUnitOfWork
from notification_svc.storage.unit_of_work import UnitOfWork as NotificationUnitOfWork
from payment_svc.storage.unit_of_work import UnitOfWork as PaymentUnitOfWork
from runtime.database.transactions import Transactions
from tests.integration.drivers.bus import engine_for

_UNITS_OF_WORK: dict[str, Callable[[AsyncConnection], Any]] = {
    "payment": PaymentUnitOfWork,
    "interview": InterviewUnitOfWork,
    "notification": NotificationUnitOfWork,
}


class ServiceDatabase:
    """One service's schema; `engine` has the rights of its runtime role."""

    def __init__(self, stack: Stack, service: str) -> None:
        self.service = service
        self._url = stack.database_url(f"{service}_runtime")
        self.engine = engine_for(self._url)
        self._superuser = engine_for(stack.superuser_url)

    @property
    def transactions(self) -> Transactions[Any]:
        """Opens units of work, as the service does."""
        return Transactions(self.engine, _UNITS_OF_WORK[self.service])

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

    async def values(self, query: Select[Any]) -> list[Any]:
        """The first column of a query's rows, as the superuser."""
        async with self._superuser.connect() as connection:
            return list((await connection.execute(query)).scalars())

    @asynccontextmanager
    async def refusing_outbox(self, _table: Table) -> AsyncIterator[None]:
        """Makes every insert into the outbox fail during the block."""
        insert, role = f"INSERT ON {self.service}.outbox", f"{self.service}_runtime"
        await self.execute(f"REVOKE {insert} FROM {role}")
        try:
            yield
        finally:
            await self.execute(f"GRANT {insert} TO {role}")

    @asynccontextmanager
    async def refusing_commit(self, table: Table) -> AsyncIterator[None]:
        """Makes every commit with a change to a table fail during the block."""
        function = f"{self.service}.refuse_commit"
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

    async def close(self) -> None:
        await self.engine.dispose()
        await self._superuser.dispose()


REFUSALS = (ServiceDatabase.refusing_outbox, ServiceDatabase.refusing_commit)
Refuse = Callable[[ServiceDatabase, Table], AbstractAsyncContextManager[None]]
Databases = dict[str, ServiceDatabase]


@asynccontextmanager
async def open_databases(stack: Stack) -> AsyncIterator[Databases]:
    """The schemas of all services, as they are."""
    databases = {service: ServiceDatabase(stack, service) for service in SERVICES}
    try:
        yield databases
    finally:
        for database in databases.values():
            await database.close()


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
