"""One transaction of interview and its repositories."""

from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.messages.events import to_bus
from interview_svc.storage.cached_codes import SqlCachedCodes
from interview_svc.storage.drifts import Drifts
from interview_svc.storage.qa_records import SqlFeedback, SqlQARecords
from interview_svc.storage.sessions import SqlSessions
from interview_svc.storage.tables import bus
from interview_svc.storage.watermarks import Watermarks
from runtime.database import unit_of_work
from runtime.database.transactions import Transactions


class UnitOfWork(unit_of_work.UnitOfWork):
    """The repositories over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, bus, to_bus)
        self.entries = SqlCachedCodes(connection, self.collect_events)
        self.sessions = SqlSessions(connection, self.collect_events)
        self.qa_records = SqlQARecords(connection)
        self.feedback = SqlFeedback(connection)
        self.watermarks = Watermarks(connection)
        self.drifts = Drifts(connection)


Database = Transactions[UnitOfWork]
