"""Counts the provider's notifications that are QUARANTINED, for operators."""

from payment_svc.storage.unit_of_work import Database
from runtime.ops.metrics import Metrics

_LIMIT = 1_000


class QuarantineReport:
    """Reports the count by metric; each notification is logged when it is quarantined."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        description = f"Quarantined notifications of the payment provider (capped at {_LIMIT})."
        self._count = metrics.gauge("payment_notifications_quarantined", description)

    async def run_round(self) -> None:
        """Counts them; changes nothing."""
        async with self._database.read_only() as uow:
            self._count.set(await uow.notifications.quarantined_count(_LIMIT))
