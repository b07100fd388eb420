"""The unit of work: one transaction, its repositories, and the events that it publishes.

Guarantee: the events of every saved aggregate enter the outbox in the transaction that saves the
aggregate, once, in the order in which the aggregates were saved.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import BusTables, Event, Outbox
from eventbus.fixed_statement import FixedStatement

_NOW = FixedStatement(select(func.now().label("moment")))


class HasEvents(Protocol):
    """An aggregate that records domain events until it is saved."""

    @property
    def events(self) -> list[Any]:
        """The events since it was loaded or saved."""


CollectEvents = Callable[[Iterable[HasEvents]], None]


class UnitOfWork:
    """One transaction. A service's subclass adds its repositories.

    A repository calls `collect_events` with what it saved; `flush_events` is called once, before
    the commit.
    """

    def __init__(
        self, connection: AsyncConnection, tables: BusTables, to_event: Callable[[Any], Event]
    ) -> None:
        """`to_event` converts a domain event to an event of the bus."""
        self.connection = connection
        self._outbox, self._to_event = Outbox(tables), to_event
        self._pending: list[Any] = []

    async def clock(self) -> datetime:
        """The database's clock, UTC-aware: all replicas use the same one."""
        [row] = await _NOW.fetch(self.connection)
        moment: datetime = row.moment
        return moment

    def collect_events(self, aggregates: Iterable[HasEvents]) -> None:
        """Moves the aggregates' events to the unit of work."""
        for aggregate in aggregates:
            self._pending += aggregate.events
            aggregate.events.clear()

    async def flush_events(self) -> None:
        """Writes the collected events to the outbox."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        await self._outbox.publish(self.connection, [self._to_event(event) for event in pending])
