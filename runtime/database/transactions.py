"""A service's transactions: each one is a unit of work and ends with its events in the outbox."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


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
        self._after_commit = after_commit

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        """Commits at the end of the block, or rolls back if it raises."""
        async with self._engine.begin() as connection:
            uow = self._unit_of_work(connection)
            yield uow
            await uow.flush_events()
        self._after_commit()

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[Work]:
        """For queries; commits nothing and publishes nothing."""
        async with self._engine.connect() as connection:
            yield self._unit_of_work(connection)
