"""A service's transactions: each begins with a unit of work and commits what that announced."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class SupportsFlush(Protocol):
    """A unit of work: repositories over one connection, and what their aggregates announce."""

    async def flush_events(self) -> None:
        """Puts what was announced into the outbox; called once, before the commit."""


Work = TypeVar("Work", bound=SupportsFlush)


class Transactions(Generic[Work]):
    """Opens units of work. `after_commit` is called after each commit."""

    def __init__(
        self,
        engine: AsyncEngine,
        begin: Callable[[AsyncConnection], Work],
        after_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._begin, self._after_commit = engine, begin, after_commit

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        """Commits at the end of the block, or rolls back if it raises."""
        async with self._engine.begin() as connection:
            uow = self._begin(connection)
            yield uow
            await uow.flush_events()
        self._after_commit()

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[Work]:
        """For queries only."""
        async with self._engine.connect() as connection:
            yield self._begin(connection)
