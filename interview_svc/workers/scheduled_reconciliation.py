"""The scheduled reconciliation with payment's access codes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from interview_svc.domain.drifts import Drift, DriftKind, DriftScope
from interview_svc.storage.unit_of_work import Database
from interview_svc.workflows.reconciliation import MAX_DRIFTS, CodeReconciliation, Report
from runtime.metrics.registry import Metrics
from runtime.ops.check_progress import CheckProgress

NAME = "reconciliation"
# Live codes compared in one round, so that a round's work does not grow with their number.
_LIVE_CODES = 10_000


@dataclass(frozen=True, slots=True)
class _Round:
    """What a round compares (None: everything), and the progress that is stored after it."""

    scope: DriftScope | None
    began: datetime
    full_at: datetime | None
    position: str = ""

    def progress(self, found: Sequence[Drift]) -> CheckProgress:
        # Repaired ones too: the next round shows whether they are gone. Of a list that is cut off,
        # the rest would be forgotten: the next round compares everything again.
        complete = len(found) < MAX_DRIFTS
        return CheckProgress(
            compared_until=self.began,
            full_at=self.full_at if complete else None,
            findings=sorted({drift.order_id or drift.access_code_id for drift in found}),
            position=self.position,
        )


class ScheduledReconciliation:
    """Reconciles and counts the drifts, once the cache is warmed up.

    A round compares the orders that interview has changed since the round before it, the codes that
    payment has issued since, those with a drift in that round, and a part of the live codes, as
    payment may have changed one without an event that arrived. Once a day it compares everything.
    """

    def __init__(
        self,
        database: Database,
        reconciliation: CodeReconciliation,
        metrics: Metrics,
        full_hour: int,
        *,
        repair: bool,
    ) -> None:
        """`full_hour` is the hour of the day (UTC) after which everything is compared."""
        self._database, self._reconciliation = database, reconciliation
        self._full_hour, self._repair = full_hour, repair
        description = f"Drifts found by the last reconciliation (capped at {MAX_DRIFTS})."
        self._drifts = metrics.gauge("reconciliation_drifts", description, "kind")
        self.stand_by()

    def stand_by(self) -> None:
        """Reports nothing: another replica does."""
        self._count(())

    async def run_round(self) -> None:
        """Compares once and repairs what it found; raises PaymentUnavailable."""
        async with self._database.read_only() as uow:
            if not await uow.watermarks.is_warmed_up():
                return
        this = await self._plan()
        found: Sequence[Drift] | None = None

        def count(report: Report) -> None:
            # Before the repair, which fails during an outage of payment.
            nonlocal found
            found = report.drifts
            self._count(found)

        try:
            await self._reconciliation.check_scope(this.scope, repair=self._repair, on_found=count)
        finally:
            if found is not None:
                async with self._database.transaction() as uow:
                    await uow.check_progress.save(NAME, this.progress(found))

    async def _plan(self) -> _Round:
        async with self._database.read_only() as uow:
            before, began = await uow.check_progress.load(NAME), await uow.clock()
            if before.is_full_due(began, self._full_hour):
                return _Round(None, began, began)
            changed = await uow.drifts.changed_since(before.since())
            live = await uow.drifts.live_orders(before.position, _LIVE_CODES)
        position = live[-1] if len(live) == _LIVE_CODES else ""
        codes = {finding for finding in before.findings if finding.startswith("acc_")}
        order_ids = {*changed.order_ids, *live, *before.findings} - codes
        scope = DriftScope(order_ids, codes | set(changed.access_code_ids))
        return _Round(scope, began, before.full_at, position)

    def _count(self, drifts: Sequence[Drift]) -> None:
        counts = Counter(drift.kind for drift in drifts)
        for kind in DriftKind:
            self._drifts.labels(kind).set(counts[kind])
