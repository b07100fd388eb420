"""The scheduled reconciliation of a service's outbox, streams and inboxes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.reconciliation import BusReconciliation, Findings, MissingEvent
from runtime.metrics.registry import Metrics
from runtime.ops.check_progress import CheckProgress, CheckProgressStore

_log = structlog.get_logger(__name__)
NAME = "bus reconciliation"
# Rounds overlap: an event that was in flight at the end of one round is compared in the next.
_LOOKBACK_ROUNDS = 3
# A full round compares a day, and what was in flight before it.
_FULL = timedelta(hours=25)


class ScheduledBusReconciliation:
    """Compares the events of the last rounds, repairs what is missing, and counts it.

    A round that failed is made up for by the next one, and what was found and not repaired is
    compared again. Once a day the events of a whole day are: the broker may lose one later.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        progress: Table,
        reconciliation: BusReconciliation,
        metrics: Metrics,
        interval_seconds: float,
        full_hour: int,
        *,
        repair: bool,
    ) -> None:
        """`full_hour` is the hour of the day (UTC) after which a day is compared."""
        self._engine, self._progress = engine, progress
        self._reconciliation, self._full_hour, self._repair = reconciliation, full_hour, repair
        self._lookback = timedelta(seconds=interval_seconds * _LOOKBACK_ROUNDS)
        description = f"Events found missing in the last {_LOOKBACK_ROUNDS} rounds."
        self._missing = metrics.gauge("bus_missing_events", description, "kind")
        self.stand_by()

    def stand_by(self) -> None:
        """Reports nothing: another replica does."""
        self._count(Findings())

    async def run_round(self) -> None:
        """Runs one reconciliation."""
        began = datetime.now(UTC)
        async with self._engine.connect() as connection:
            before = await CheckProgressStore(connection, self._progress).load(NAME)
        full = before.is_full_due(began, self._full_hour)
        findings = await self._reconciliation.run(
            self._since(before, began, full=full), repair=self._repair
        )
        missing = [event for events in _by_kind(findings).values() for event in events]
        unrepaired = [event.published_at for event in missing if not event.repaired]
        after = CheckProgress(
            compared_until=min([began, *unrepaired]),
            full_at=began if full else before.full_at,
        )
        async with self._engine.begin() as connection:
            await CheckProgressStore(connection, self._progress).save(NAME, after)
        self._count(findings)
        for kind, events in _by_kind(findings).items():
            for event in events:
                _log_missing(kind, event)

    def _since(self, before: CheckProgress, now: datetime, *, full: bool) -> datetime:
        compared_until = before.compared_until or now
        return min(compared_until, now - _FULL if full else now) - self._lookback

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
