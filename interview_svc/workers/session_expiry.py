"""Writes down what the database's clock has decided: sessions whose time is over have ended."""

from interview_svc.storage.unit_of_work import Database
from interview_svc.use_cases.interviews import expire_sessions

_BATCH = 200


class SessionExpiry:
    """Ends sessions in batches. Replicas share the work; a late one changes nothing but the row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_round(self) -> None:
        """Ends all whose time is over."""
        while await self._expire_batch() >= _BATCH:
            pass

    async def _expire_batch(self) -> int:
        async with self._database.transaction() as uow:
            return await expire_sessions(uow, now=await uow.clock(), limit=_BATCH)
