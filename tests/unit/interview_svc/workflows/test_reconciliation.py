"""The warm-up of the local cache: it ends, and it is stored only when it is complete."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from interview_svc.domain.drifts import Drift, DriftKind
from interview_svc.workflows.reconciliation import MAX_DRIFTS, CodeReconciliation, Report
from tests.builders.interview import NOW

DRIFT = Drift(DriftKind.STARTED_NOT_REDEEMED, "ord_1", "acc_1", "ses_1", "")


class InMemoryWatermarks:
    """Whether the cache is warmed up."""

    def __init__(self) -> None:
        self.warmed_up = False

    async def is_warmed_up(self) -> bool:
        return self.warmed_up

    async def set_warmed_up(self) -> None:
        self.warmed_up = True


class FakeDatabase:
    """Opens its one unit of work."""

    def __init__(self) -> None:
        self.watermarks = InMemoryWatermarks()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["FakeDatabase"]:
        yield self

    read_only = transaction


class FakeReconciliation(CodeReconciliation):
    """Every check finds the maximum of drifts. It stops after `stop_after` checks."""

    def __init__(self, database: Any, stop_after: int, *, repairs: bool = True) -> None:
        unused: Any = None
        super().__init__(database, unused, unused, unused)
        self.checks, self._stop_after, self._repairs = 0, stop_after, repairs

    async def check(
        self,
        *,
        repair: bool,
        order_id: str = "",
        on_found: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        await asyncio.sleep(0)
        self.checks += 1
        if self.checks == self._stop_after:
            self.stop()
        drift = replace(DRIFT, order_id=order_id, repaired=repair and self._repairs)
        report = Report([drift] * MAX_DRIFTS, MAX_DRIFTS, NOW)
        on_found(report)
        return report


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


async def test_the_warm_up_ends_when_the_service_stops(database: FakeDatabase) -> None:
    """It is not stored as complete: the next start continues it."""
    reconciliation = FakeReconciliation(database, stop_after=3)
    assert not await asyncio.wait_for(reconciliation.warm_up(), 5)
    assert (reconciliation.checks, database.watermarks.warmed_up) == (3, False)


async def test_the_warm_up_ends_when_nothing_more_can_be_repaired(database: FakeDatabase) -> None:
    reconciliation = FakeReconciliation(database, stop_after=0, repairs=False)
    assert await asyncio.wait_for(reconciliation.warm_up(), 5)
    assert (reconciliation.checks, database.watermarks.warmed_up) == (1, True)


async def test_a_second_start_does_not_warm_up_again(database: FakeDatabase) -> None:
    """It compares nothing: the events since then have kept the cache complete."""
    first = FakeReconciliation(database, stop_after=0, repairs=False)
    assert await asyncio.wait_for(first.warm_up(), 5)
    second = FakeReconciliation(database, stop_after=0, repairs=False)
    assert not await asyncio.wait_for(second.warm_up(), 5)
    assert second.checks == 0
