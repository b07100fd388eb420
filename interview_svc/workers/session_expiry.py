"""Expires sessions whose time is over, by the database's clock."""

from interview_svc.storage.unit_of_work import Database
from interview_svc.use_cases.sessions import expire_sessions
from runtime.clock import utc_now

_BATCH_SIZE = 200


class SessionExpiry:
    """Expires sessions in batches. Replicas share the work.

    A late round changes nothing for customers: the aggregates check the time themselves.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_round(self) -> None:
        """Expires all sessions whose time is over."""
        while await self._expire_batch() >= _BATCH_SIZE:
            pass

    async def _expire_batch(self) -> int:
        async with self._database.transaction() as uow:
            return await expire_sessions(
                uow, due_at=await uow.clock(), clock=utc_now, limit=_BATCH_SIZE
            )
