"""Checks periodically that the money of the orders balances."""

from collections.abc import Sequence

import structlog

from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.ledger import MAX_IMBALANCES, LedgerEntry
from runtime.metrics.registry import Metrics
from runtime.ops.check_progress import CheckProgress

_log = structlog.get_logger(__name__)
NAME = "ledger check"


class LedgerCheck:
    """Reports orders whose money does not balance, by log and metric, until it does.

    A round checks the orders that have changed since the round before it, and those that it
    reported; once a day it checks all.
    """

    def __init__(self, database: Database, metrics: Metrics, full_hour: int) -> None:
        """`full_hour` is the hour of the day (UTC) after which all orders are checked."""
        self._database, self._full_hour = database, full_hour
        description = f"Orders whose money does not balance (capped at {MAX_IMBALANCES})."
        self._imbalances = metrics.gauge("ledger_imbalances", description)

    def stand_by(self) -> None:
        """Reports nothing: another replica does."""
        self._imbalances.set(0)

    async def run_round(self) -> None:
        """Checks once; changes nothing but its progress."""
        async with self._database.read_only() as uow:
            before, began = await uow.check_progress.load(NAME), await uow.clock()
        full = before.is_full_due(began, self._full_hour)
        async with self._database.read_only() as uow:
            order_ids = None
            if not full:
                order_ids = {*await uow.ledger.changed_since(before.since()), *before.findings}
            imbalances = (await uow.ledger.check(order_ids)).imbalances
        # Of a list that is cut off, the rest would be forgotten: the next round checks all again.
        complete = len(imbalances) < MAX_IMBALANCES
        full_at = began if full else before.full_at
        after = CheckProgress(
            compared_until=began,
            full_at=full_at if complete else None,
            findings=[entry.order_id for entry in imbalances],
        )
        async with self._database.transaction() as uow:
            await uow.check_progress.save(NAME, after)
        self._report(imbalances)

    def _report(self, imbalances: Sequence[LedgerEntry]) -> None:
        self._imbalances.set(len(imbalances))
        for entry in imbalances:
            _log.error(
                "ledger imbalance",
                order_id=entry.order_id,
                currency_code=entry.currency_code,
                captured_minor=entry.captured_minor,
                refunded_minor=entry.refunded_minor,
                backing_minor=entry.backing_minor,
                owed_minor=entry.owed_minor,
            )
