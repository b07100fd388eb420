"""One relay per service publishes at a time, by a lease."""

from datetime import timedelta

from sqlalchemy import func, update

from devstack.polling import wait_until
from tests.fakes.broker import InterruptedPublisher
from tests.integration.drivers.bus import Bus, assert_each_once
from tests.integration.drivers.worker_runner import running


async def test_only_the_holder_of_the_lease_publishes(bus: Bus) -> None:
    holder, other = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    await holder.publish_once()
    await bus.commit(*bus.events(3))
    assert await other.publish_once() == 0
    assert await bus.stored_ids() == []
    assert await holder.publish_once() == 3
    await bus.commit(*bus.events(2))
    assert await other.publish_once() == 0


async def test_another_relay_takes_an_expired_lease(bus: Bus) -> None:
    former, successor = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    await former.publish_once()
    await bus.commit(*bus.events(3))
    await _expire_lease(bus)
    assert await successor.publish_once() == 3
    await bus.commit(*bus.events(1))
    assert await former.publish_once() == 0


async def test_a_stopped_relay_releases_its_lease(bus: Bus) -> None:
    former, successor = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    async with running(former):

        async def held() -> bool:
            return bool(await bus.rows(bus.tables.relay_lease))

        await wait_until(held, "the lease is held")
    await bus.commit(*bus.events(3))
    assert await successor.publish_once() == 3


async def test_a_stopped_relay_does_not_release_the_lease_of_another(bus: Bus) -> None:
    holder, other = bus.relay(lease_seconds=60), bus.relay(lease_seconds=60)
    await holder.publish_once()
    async with running(other):
        pass
    [lease] = await bus.rows(bus.tables.relay_lease)
    assert lease["holder"] == holder._lease.holder


async def test_a_relay_that_lost_its_lease_cannot_mark_events_as_published(bus: Bus) -> None:
    events, successor = bus.events(3), bus.relay(lease_seconds=60)

    async def lose_lease() -> None:
        await _expire_lease(bus)
        async with bus.engine.begin() as connection:
            assert await successor._lease.acquire(connection)

    await bus.commit(*events)
    slow = bus.relay(InterruptedPublisher(bus.broker, lose_lease))
    await slow.publish_once()
    assert await bus.unpublished() == [event.id for event in events]
    assert await bus.published() == []
    assert await successor.publish_once() == 3
    assert await bus.published() == [event.id for event in events]
    assert_each_once(await bus.stored_ids(), events)


async def _expire_lease(bus: Bus) -> None:
    past = func.now() - timedelta(seconds=1)
    await bus.execute(update(bus.tables.relay_lease).values(expires_at=past))
