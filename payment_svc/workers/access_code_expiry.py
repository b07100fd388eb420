"""Materialises what the clock decides: the database's, which is one for all replicas.

Validity is computed, so a late sweeper changes nothing.
"""

from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.access_codes import expire_access_codes

_BATCH = 200


class AccessCodeExpiry:
    """Expires access codes whose time is over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_round(self) -> None:
        """One round, in batches; what others have locked waits for the next."""
        expired = _BATCH
        while expired == _BATCH:
            async with self._database.transaction() as uow:
                expired = await expire_access_codes(_BATCH, uow, now=await uow.clock())
