"""The scheduled reconciliation of a service's outbox, streams and inboxes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from eventbus.reconciliation import BusReconciliation, Findings, MissingEvent
from runtime.ops.metrics import Metrics

_log = structlog.get_logger(__name__)
# Rounds overlap: an event that was in flight at the end of one round is compared in the next.
_LOOKBACK_ROUNDS = 3


class ScheduledBusReconciliation:
    """Compares the events of the last rounds, repairs what is missing, and counts it."""

    def __init__(
        self,
        reconciliation: BusReconciliation,
        metrics: Metrics,
        interval_seconds: float,
        *,
        repair: bool,
    ) -> None:
        self._reconciliation, self._repair = reconciliation, repair
        self._lookback = timedelta(seconds=interval_seconds * _LOOKBACK_ROUNDS)
        description = f"events found missing in the last {_LOOKBACK_ROUNDS} rounds"
        self._missing = metrics.gauge("bus_missing_events", description, "kind")
        self._count(Findings())

    async def run_round(self) -> None:
        """Runs one reconciliation."""
        since = datetime.now(UTC) - self._lookback
        findings = await self._reconciliation.run(since, repair=self._repair)
        self._count(findings)
        for kind, events in _by_kind(findings).items():
            for event in events:
                _log_missing(kind, event)

    def _count(self, findings: Findings) -> None:
        for kind, events in _by_kind(findings).items():
            self._missing.labels(kind).set(len(events))


def _by_kind(findings: Findings) -> Mapping[str, Sequence[MissingEvent]]:
    return {"lost": findings.lost, "unhandled": findings.unhandled}


def _log_missing(kind: str, event: MissingEvent) -> None:
    _log.warning(
        "event missing",
        kind=kind,
        event_id=event.event_id,
        event_type=event.event_type,
        key=event.key,
        stream=event.stream,
        consumer=event.consumer,
        repaired=event.repaired,
    )
