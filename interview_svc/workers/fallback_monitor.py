"""Exports whether the fallback is available, and logs when it becomes unavailable.

After a start it is unavailable until payment's next Watermark is handled. That is logged only if it
lasts longer than a start takes.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from interview_svc.domain.fallback import CacheFacts, FallbackStatus
from interview_svc.storage.unit_of_work import Database
from runtime.metrics.registry import Metrics

_log = structlog.get_logger(__name__)
_START_SECONDS = 30.0


class FallbackMonitor:
    """Watches the local cache's freshness."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        max_staleness: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._max_staleness = database, max_staleness
        self._clock, self._started_at = clock, clock()
        self._available = metrics.gauge(
            "fallback_available", "1 while the local cache can accept codes, else 0."
        )
        self._since = metrics.gauge(
            "fallback_unavailable_since_seconds",
            "Unix time since which the local cache cannot accept codes; 0 while it can, and if it"
            " never could.",
        )
        self._stale_orders = metrics.gauge(
            "fallback_stale_orders", "Orders whose cached code is stale by a dead letter of theirs."
        )
        self._watermark_age = metrics.gauge(
            "fallback_watermark_age_seconds",
            "Age of the time up to which all events of payment are handled; NaN if none is known.",
        )
        self._was_available, self._is_reported = False, False

    async def status(self) -> FallbackStatus:
        """The status now."""
        return FallbackStatus.of(*await self._read())

    async def _read(self) -> tuple[CacheFacts, timedelta, datetime]:
        async with self._database.read_only() as uow:
            facts, now = await uow.freshness.read()
        return facts, self._max_staleness, now

    async def update(self) -> None:
        """Updates the metrics and logs a change; raises the database's errors."""
        facts, max_staleness, now = await self._read()
        status = FallbackStatus.of(facts, max_staleness, now)
        covered = facts.covered_as_of
        self._watermark_age.set((now - covered).total_seconds() if covered else math.nan)
        since = status.unavailable_since
        self._available.set(status.available)
        self._since.set(since.timestamp() if since else 0)
        self._stale_orders.set(status.facts.stale_orders)
        is_starting = not self._was_available and self._clock() - self._started_at < _START_SECONDS
        if status.available:
            if self._is_reported:
                _log.info("fallback available again")
            self._was_available, self._is_reported = True, False
        elif not self._is_reported and not is_starting:
            _log.warning("fallback unavailable", reason=status.reason, since=str(since or ""))
            self._is_reported = True
