"""interview's unit of work: one transaction and its repositories."""

from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.messages.events import to_bus
from interview_svc.storage.cached_codes import SqlCachedCodes
from interview_svc.storage.drifts import SqlDrifts
from interview_svc.storage.feedback import SqlFeedbacks
from interview_svc.storage.freshness import SqlFreshness
from interview_svc.storage.qa_records import SqlQARecords
from interview_svc.storage.sessions import SqlSessions
from interview_svc.storage.tables import bus, check_progress
from interview_svc.storage.watermarks import SqlWatermarks
from runtime.database import unit_of_work
from runtime.database.transactions import Transactions
from runtime.ops.check_progress import CheckProgressStore


class UnitOfWork(unit_of_work.UnitOfWork):
    """The repositories over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, bus, to_bus)
        self.cached_codes = SqlCachedCodes(connection, self.collect_events)
        self.sessions = SqlSessions(connection, self.collect_events)
        self.qa_records = SqlQARecords(connection)
        self.feedback = SqlFeedbacks(connection)
        self.freshness = SqlFreshness(connection)
        self.watermarks = SqlWatermarks(connection)
        self.drifts = SqlDrifts(connection)
        self.check_progress = CheckProgressStore(connection, check_progress)


Database = Transactions[UnitOfWork]
