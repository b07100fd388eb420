"""Expires access codes by the database's clock, which is the same for all replicas.

Validity is computed from `expire_at`, so that a late worker does not extend it.
"""

from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.access_codes import expire_access_codes
from runtime.clock import utc_now

_BATCH = 200


class AccessCodeExpiry:
    """Sets EXPIRED on access codes whose `expire_at` has passed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_round(self) -> None:
        """Expires all due codes, in batches; codes locked by others wait for the next round."""
        expired = _BATCH
        while expired == _BATCH:
            async with self._database.transaction() as uow:
                expired = await expire_access_codes(
                    _BATCH, uow, due_at=await uow.clock(), clock=utc_now
                )
