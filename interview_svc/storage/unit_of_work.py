"""One transaction of interview: its repositories, and what its aggregates announce."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Outbox
from interview_svc.domain.sessions import Session
from interview_svc.messages import DomainEvent, to_bus
from interview_svc.storage.repositories import CodeEntryRows, SessionRows, WatermarkRow
from interview_svc.storage.tables import bus
from runtime.transactions import Transactions


class _TellingSessions(SessionRows):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        added = await super().add_many(sessions)
        for session in sessions:
            self._told += session.events if session.session_id in added else []
            session.events.clear()
        return added

    async def save(self, session: Session) -> None:
        await super().save(session)
        self._told += session.events
        session.events.clear()


class UnitOfWork:
    """The repositories over one connection. `announce` is called once, before the commit."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._told: list[DomainEvent] = []
        self.entries = CodeEntryRows(connection)
        self.sessions = _TellingSessions(connection, self._told)
        self.watermark = WatermarkRow(connection)

    async def announce(self) -> None:
        """Puts what the saved aggregates announced into the outbox."""
        await Outbox(bus).publish(self.connection, [to_bus(event) for event in self._told])
        self._told.clear()


Database = Transactions[UnitOfWork]
