"""The scheduled reconciliation of the bus: which time a round compares, and how long it reports."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, update

from eventbus.broker import BrokerUnavailable
from eventbus.reconciliation import Findings, MissingEvent
from runtime.metrics.registry import Metrics
from runtime.ops.bus_reconciliation import ScheduledBusReconciliation
from runtime.ops.check_progress import define_table
from tests.integration.drivers.bus import ROLE, Bus

INTERVAL = 300.0
THREE_ROUNDS = timedelta(seconds=3 * INTERVAL)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class FakeReconciliation:
    """Finds what a test sets, and keeps since when it was asked to compare."""

    def __init__(self) -> None:
        self.since: list[datetime] = []
        self.findings = Findings()
        self.error: Exception | None = None

    async def run(self, since: datetime, *, repair: bool) -> Findings:
        assert not repair
        self.since.append(since)
        if self.error:
            raise self.error
        return self.findings

    @property
    def lookback(self) -> timedelta:
        """How far the last round looked back."""
        return datetime.now(UTC) - self.since[-1]


class Replica:
    """The scheduled reconciliation in one process."""

    def __init__(self, bus: Bus, progress: Table) -> None:
        self.metrics, self.reconciliation = Metrics(), FakeReconciliation()
        fake: Any = self.reconciliation
        self.check = ScheduledBusReconciliation(
            bus.engine, progress, fake, self.metrics, INTERVAL, full_hour=0, repair=False
        )

    def reported(self) -> float | None:
        """The number of lost events that the metric states."""
        name = "mockinterview_bus_missing_events"
        return self.metrics.registry.get_sample_value(name, {"kind": "lost"})


@pytest.fixture
async def progress(bus: Bus) -> Table:
    table = define_table(bus.tables.outbox.metadata)
    async with bus.superuser.begin() as connection:
        await connection.run_sync(table.create)
    await bus.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO {ROLE}")
    return table


def lost(age: timedelta) -> Findings:
    event = MissingEvent("evt", "x.v1.Y", "k", "S", "", datetime.now(UTC) - age)
    return Findings([event], [], 1, 1)


async def test_a_round_looks_back_three_rounds_and_once_a_day_a_day(
    bus: Bus, progress: Table
) -> None:
    replica = Replica(bus, progress)
    await replica.check.run_round()
    assert replica.reconciliation.lookback > DAY
    await replica.check.run_round()
    assert THREE_ROUNDS <= replica.reconciliation.lookback < HOUR
    await bus.execute(update(progress).values(full_at=func.now() - 2 * DAY))
    await replica.check.run_round()
    assert replica.reconciliation.lookback > DAY


async def test_the_round_after_a_failed_one_compares_its_time_too(
    bus: Bus, progress: Table
) -> None:
    """As after hours without the broker."""
    replica = Replica(bus, progress)
    await replica.check.run_round()
    await bus.execute(update(progress).values(compared_until=func.now() - 5 * HOUR))
    replica.reconciliation.error = BrokerUnavailable("down")
    with pytest.raises(BrokerUnavailable):
        await replica.check.run_round()
    replica.reconciliation.error = None
    await replica.check.run_round()
    assert replica.reconciliation.lookback >= 5 * HOUR + THREE_ROUNDS


async def test_a_missing_event_is_compared_until_it_is_there(bus: Bus, progress: Table) -> None:
    """Also by another replica, after the one that found it."""
    first, second = Replica(bus, progress), Replica(bus, progress)
    first.reconciliation.findings = lost(3 * HOUR)
    await first.check.run_round()
    assert first.reported() == 1
    first.check.stand_by()
    assert first.reported() == 0
    second.reconciliation.findings = first.reconciliation.findings
    await second.check.run_round()
    assert second.reconciliation.lookback >= 3 * HOUR
    assert second.reported() == 1
    second.reconciliation.findings = Findings()
    for _ in range(2):
        await second.check.run_round()
    assert second.reported() == 0
    assert second.reconciliation.lookback < HOUR
