"""A service's transactions: each one is a unit of work and ends with its events in the outbox."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventbus.database_errors import Fault, fault_of
from eventbus.fixed_statement import begin

# More in a row show that the server fails, and not connections of the pool.
_MAX_FAILED_CONNECTIONS = 10


class SupportsFlushEvents(Protocol):
    """The interface that `Transactions` requires of a unit of work."""

    async def flush_events(self) -> None:
        """Writes the collected events to the outbox."""


Work = TypeVar("Work", bound=SupportsFlushEvents)


class Transactions(Generic[Work]):
    """Opens units of work."""

    def __init__(
        self,
        engine: AsyncEngine,
        unit_of_work: Callable[[AsyncConnection], Work],
        after_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """`after_commit` is called after each commit."""
        self._engine, self._unit_of_work = engine, unit_of_work
        # Each query sees what is committed when it runs, as in a transaction of the default
        # isolation level; so a transaction around queries would only cost round trips.
        self._queries = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._after_commit = after_commit

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        """Commits at the end of the block, or rolls back if it raises."""
        connection = await self._begin()
        try:
            uow = self._unit_of_work(connection)
            yield uow
            await uow.flush_events()
            await connection.commit()
        except BaseException:
            await _close(connection)
            raise
        await connection.close()  # there is nothing to roll back: it waits for nothing
        self._after_commit()

    async def _begin(self) -> AsyncConnection:
        """A connection whose transaction has begun.

        The pool does not check whether a connection still works: beginning a transaction does. If
        that fails because of the connection, nothing was done, and another connection is tried;
        each of those in the pool may have failed.
        """
        failed = 0
        while True:
            connection = await self._engine.connect()
            try:
                await begin(connection)
            except BaseException as error:
                await _close(connection)
                failed += 1
                if failed >= _MAX_FAILED_CONNECTIONS or not _is_of_connection(error):
                    raise
            else:
                return connection

    @asynccontextmanager
    async def single_statements(self) -> AsyncIterator[Work]:
        """For queries, and for changes of one statement each without events.

        Each statement takes effect by itself; events are not published.
        """
        connection = await self._queries.connect()
        try:
            yield self._unit_of_work(connection)
        except BaseException:
            await _close(connection)
            raise
        await connection.close()

    def read_only(self) -> AbstractAsyncContextManager[Work]:
        """For queries; commits nothing and publishes nothing."""
        return self.single_statements()


async def _close(connection: AsyncConnection) -> None:
    """Returns the connection to the pool, also if the caller is cancelled meanwhile."""
    await asyncio.shield(asyncio.create_task(connection.close()))


def _is_of_connection(error: BaseException) -> bool:
    """Whether another connection may work now. After a time-out, a caller has waited enough."""
    in_time = not isinstance(error, TimeoutError)
    return in_time and fault_of(error) in {Fault.CONNECTION, Fault.SERVER}
