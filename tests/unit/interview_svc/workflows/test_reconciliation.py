"""interview's comparison with the shared table: it ends, and says no more than it did."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from interview_svc.domain.drifts import Drift, DriftKind
from interview_svc.workflows.reconciliation import MOST_DRIFTS, CodeReconciliation, Report

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
DRIFT = Drift(DriftKind.STARTED_NOT_REDEEMED, "ord_1", "acc_1", "ses_1", "")


class Watermarks:
    """Whether interview has warmed up."""

    def __init__(self) -> None:
        self.warm = False

    async def warmed_up(self) -> bool:
        return self.warm

    async def note_warm_up(self) -> None:
        self.warm = True


class Database:
    """Opens its one unit of work."""

    def __init__(self) -> None:
        self.watermarks = Watermarks()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Database"]:
        yield self

    read_only = transaction


class Repairing(CodeReconciliation):
    """Finds as many drifts as there can be, and mends them, each time; `stops` after so often."""

    def __init__(self, database: Any, stops: int, *, mends: bool = True) -> None:
        unused: Any = None
        super().__init__(database, unused, unused, unused)
        self.checks, self._stops, self._mends = 0, stops, mends

    async def check(self, *, repair: bool, order_id: str = "") -> Report:
        await asyncio.sleep(0)
        self.checks += 1
        if self.checks == self._stops:
            self.stop()
        mended = replace(DRIFT, order_id=order_id, repaired=repair and self._mends)
        return Report([mended] * MOST_DRIFTS, MOST_DRIFTS, NOW)


@pytest.fixture
def database() -> Database:
    return Database()


async def test_warming_up_ends_when_interview_stops(database: Database) -> None:
    """And isn't noted as done: the next start goes on with it."""
    repairing = Repairing(database, stops=3)
    assert not await asyncio.wait_for(repairing.warm_up(), 5)
    assert (repairing.checks, database.watermarks.warm) == (3, False)


async def test_warming_up_ends_when_nothing_more_can_be_mended(database: Database) -> None:
    repairing = Repairing(database, stops=0, mends=False)
    assert await asyncio.wait_for(repairing.warm_up(), 5)
    assert (repairing.checks, database.watermarks.warm) == (1, True)
