"""Runs the reconciliation with payment's access codes at an interval."""

from collections import Counter
from collections.abc import Sequence

from interview_svc.domain.drifts import Drift, DriftKind
from interview_svc.workflows.reconciliation import MAX_DRIFTS, CodeReconciliation
from runtime.ops.metrics import Metrics
from runtime.workers import PollingWorker


class ScheduledReconciliation(PollingWorker):
    """Warms up the cache in the first round, then reconciles and counts the drifts."""

    def __init__(
        self,
        reconciliation: CodeReconciliation,
        metrics: Metrics,
        interval_seconds: float,
        *,
        repair: bool,
    ) -> None:
        super().__init__("reconciliation", interval_seconds, self._run_round)
        self._reconciliation, self._repair, self._warm = reconciliation, repair, False
        description = f"drifts found by the last reconciliation (capped at {MAX_DRIFTS})"
        self._drifts = metrics.gauge("reconciliation_drifts", description, "kind")
        self._count(())

    def stop(self) -> None:
        """Ends `run` soon."""
        self._reconciliation.stop()
        super().stop()

    async def _run_round(self) -> None:
        # After a start many events are in flight: the first comparison is one interval later.
        if not self._warm:
            await self._reconciliation.warm_up()
            self._warm = True
            return
        # Counts before the repair, which fails during an outage of payment.
        await self._reconciliation.check(
            repair=self._repair, on_found=lambda report: self._count(report.drifts)
        )

    def _count(self, drifts: Sequence[Drift]) -> None:
        counts = Counter(drift.kind for drift in drifts)
        for kind in DriftKind:
            self._drifts.labels(kind).set(counts[kind])
