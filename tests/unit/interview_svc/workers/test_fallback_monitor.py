"""When the log says that the local cache can accept no codes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from interview_svc.domain.fallback import CacheFacts
from interview_svc.workers.fallback_monitor import FallbackMonitor
from runtime.metrics.registry import Metrics

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEVER, FRESH, STALE = None, NOW, NOW - 2 * HOUR


class Cache:
    """A database whose cache is covered as of a given time, and a clock."""

    def __init__(self) -> None:
        self.as_of: datetime | None = NEVER
        self.seconds = 0.0

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(freshness=self)

    async def read(self) -> tuple[CacheFacts, datetime]:
        return CacheFacts(self.as_of, 0, None, 0), NOW


async def logged(*steps: tuple[float, datetime | None]) -> list[str]:
    """The log events of updates at some seconds after the start, with the cache covered so far."""
    cache: Any = Cache()
    monitor = FallbackMonitor(cache, Metrics(), HOUR, clock=lambda: cache.seconds)
    with capture_logs() as logs:
        for cache.seconds, cache.as_of in steps:
            await monitor.update()
    return [f"{entry['log_level']}: {entry['event']}" for entry in logs]


@pytest.mark.parametrize("before", [NEVER, STALE])
async def test_a_healthy_start_logs_nothing(before: datetime | None) -> None:
    """The first Watermark arrives seconds after the start."""
    assert await logged((0, before), (5, before), (10, FRESH), (40, FRESH)) == []


@pytest.mark.parametrize("before", [NEVER, STALE])
async def test_a_cache_that_does_not_become_reliable_is_logged_once(
    before: datetime | None,
) -> None:
    assert await logged((0, before), (29, before), (30, before), (60, before), (90, FRESH)) == [
        "warning: fallback unavailable",
        "info: fallback available again",
    ]


async def test_a_cache_that_was_reliable_is_logged_at_once() -> None:
    assert await logged((0, FRESH), (1, STALE), (2, STALE), (3, FRESH), (4, STALE)) == [
        "warning: fallback unavailable",
        "info: fallback available again",
        "warning: fallback unavailable",
    ]
