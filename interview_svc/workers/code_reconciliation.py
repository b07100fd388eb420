"""Compares interview's cached codes and sessions with payment's codes at an interval."""

from collections import Counter
from collections.abc import Sequence

from interview_svc.domain.drifts import Drift, DriftKind
from interview_svc.workflows.reconciliation import MOST_DRIFTS, CodeReconciliation
from runtime.ops.metrics import Metrics
from runtime.workers import PollingWorker


class ScheduledReconciliation(PollingWorker):
    """The comparison as it is done from time to time; the first one ever takes in everything."""

    def __init__(
        self,
        reconciliation: CodeReconciliation,
        metrics: Metrics,
        interval_seconds: float,
        *,
        repair: bool,
    ) -> None:
        super().__init__("code reconciliation", interval_seconds, self._check)
        self._reconciliation, self._repair, self._warm = reconciliation, repair, False
        description = f"drifts found by the last check (capped at {MOST_DRIFTS})"
        self._drifts = metrics.gauge("consistency_drifts", description, "kind")
        self._count(())

    def stop(self) -> None:
        """Ends `run` soon."""
        self._reconciliation.stop()
        super().stop()

    async def _check(self) -> None:
        # Right after a start much is under way: comparing begins a round later.
        if not self._warm:
            await self._reconciliation.warm_up()
            self._warm = True
            return
        # Counted before they are mended: payment may be away, and they stay then.
        await self._reconciliation.check(
            repair=self._repair, found=lambda report: self._count(report.drifts)
        )

    def _count(self, drifts: Sequence[Drift]) -> None:
        counts = Counter(drift.kind for drift in drifts)
        for kind in DriftKind:
            self._drifts.labels(kind).set(counts[kind])
