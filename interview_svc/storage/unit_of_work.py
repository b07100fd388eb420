"""One transaction of interview: its repositories, and what its aggregates announce."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Outbox
from interview_svc.domain.cached_code import CachedCode
from interview_svc.domain.events import DomainEvent
from interview_svc.domain.sessions import Session
from interview_svc.messages.events import to_bus
from interview_svc.storage.cached_codes import SqlCachedCodes
from interview_svc.storage.drifts import Drifts
from interview_svc.storage.qa_records import SqlFeedback, SqlQARecords
from interview_svc.storage.sessions import SqlSessions
from interview_svc.storage.tables import bus
from interview_svc.storage.watermarks import Watermarks
from runtime.database.transactions import Transactions


class _TellingEntries(SqlCachedCodes):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def save_many(self, entries: Sequence[CachedCode]) -> None:
        await super().save_many(entries)
        for entry in entries:
            self._told += entry.events
            entry.events.clear()


class _TellingSessions(SqlSessions):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def add_many(self, new: Sequence[Session]) -> set[str]:
        added = await super().add_many(new)
        for session in new:
            self._told += session.events if session.session_id in added else []
            session.events.clear()
        return added

    async def save_many(self, changed: Sequence[Session]) -> None:
        await super().save_many(changed)
        for session in changed:
            self._told += session.events
            session.events.clear()


class UnitOfWork:
    """The repositories over one connection. `announce` is called once, before the commit."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._told: list[DomainEvent] = []
        self.entries = _TellingEntries(connection, self._told)
        self.sessions = _TellingSessions(connection, self._told)
        self.qa_records = SqlQARecords(connection)
        self.feedback = SqlFeedback(connection)
        self.watermarks = Watermarks(connection)
        self.drifts = Drifts(connection)

    async def clock(self) -> datetime:
        """The database's clock: sweepers of all replicas go by this one."""
        moment: datetime = (await self.connection.execute(select(func.now()))).scalar_one()
        return moment

    async def flush_events(self) -> None:
        """Puts what the saved aggregates announced into the outbox."""
        await Outbox(bus).publish(self.connection, [to_bus(event) for event in self._told])
        self._told.clear()


Database = Transactions[UnitOfWork]
