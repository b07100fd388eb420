"""Checks periodically that the money of every order balances."""

import structlog

from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.ledger import MAX_IMBALANCES
from runtime.ops.metrics import Metrics

_log = structlog.get_logger(__name__)


class LedgerCheck:
    """Reports orders whose money does not balance, by log and metric."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        description = f"Orders whose money does not balance (capped at {MAX_IMBALANCES})."
        self._imbalances = metrics.gauge("ledger_imbalances", description)

    async def run_round(self) -> None:
        """Checks all orders; changes nothing."""
        async with self._database.read_only() as uow:
            report = await uow.ledger.check("")
        self._imbalances.set(len(report.imbalances))
        for entry in report.imbalances:
            _log.error(
                "ledger imbalance",
                order_id=entry.order_id,
                currency_code=entry.currency_code,
                captured_minor=entry.captured_minor,
                refunded_minor=entry.refunded_minor,
                backing_minor=entry.backing_minor,
                owed_minor=entry.owed_minor,
            )
