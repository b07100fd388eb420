"""A check runs in one replica at a time; another one takes over from one that stops or crashes."""

from datetime import timedelta

from sqlalchemy import func, update

from devstack.polling import wait_until
from runtime.ops.scheduled_check import ScheduledCheck
from tests.integration.drivers.bus import Bus
from tests.integration.drivers.worker_runner import crashing, running

_OFTEN = 0.01


class Counter:
    """Counts rounds, and how often this replica stood by."""

    def __init__(self) -> None:
        self.rounds = self.standbys = 0

    async def run_round(self) -> None:
        self.rounds += 1

    def stand_by(self) -> None:
        self.standbys += 1


def replica(bus: Bus, check: Counter, name: str = "check") -> ScheduledCheck:
    return ScheduledCheck(name, _OFTEN, check, bus.engine, bus.tables)


async def wait_for_rounds(check: Counter, count: int) -> None:
    async def ran() -> bool:
        return check.rounds >= count

    await wait_until(ran, f"{count} rounds", 20)


async def wait_for_standby(check: Counter) -> None:
    async def stood_by() -> bool:
        return check.standbys >= 3

    await wait_until(stood_by, "rounds of a replica that stands by", 20)


async def test_one_replica_runs_the_rounds_and_the_others_stand_by(bus: Bus) -> None:
    first, second = Counter(), Counter()
    async with running(replica(bus, first)):
        await wait_for_rounds(first, 1)
        async with running(replica(bus, second)):
            await wait_for_standby(second)
        await wait_for_rounds(first, first.rounds + 3)
    assert (second.rounds, first.standbys) == (0, 0)


async def test_another_replica_continues_at_once_after_a_stop(bus: Bus) -> None:
    first, second = Counter(), Counter()
    async with running(replica(bus, second)):
        await wait_for_rounds(second, 1)
    async with running(replica(bus, first)):
        await wait_for_rounds(first, 1)
    assert (first.standbys, second.standbys) == (0, 0)


async def test_another_replica_continues_when_the_lease_of_a_killed_one_expires(bus: Bus) -> None:
    first, second = Counter(), Counter()
    check = replica(bus, first)
    check._lease.release = check._lease.is_held  # type: ignore[method-assign]  as if killed
    async with crashing(check):
        await wait_for_rounds(first, 1)
    async with running(replica(bus, second)):
        await wait_for_standby(second)
        past = func.now() - timedelta(seconds=1)
        await bus.execute(update(bus.tables.relay_lease).values(expires_at=past))
        await wait_for_rounds(second, 3)


async def test_checks_and_the_relay_have_leases_of_their_own(bus: Bus) -> None:
    first, second = Counter(), Counter()
    relay = bus.relay(lease_seconds=60)
    await relay.publish_once()
    async with running(replica(bus, first, "one"), replica(bus, second, "another")):
        await wait_for_rounds(first, 1)
        await wait_for_rounds(second, 1)
    assert first.standbys == second.standbys == 0
    await bus.commit(*bus.events(1))
    assert await relay.publish_once() == 1
