"""An event that the broker refuses permanently is parked; an operator has it retried."""

from sqlalchemy import update

from eventbus import Outbox
from eventbus.outbox import backlog
from tests.fakes.broker import RefusingPublisher
from tests.integration.drivers.bus import Bus

TOO_LARGE = b"x" * 1_100_000  # more than nats-server's max_payload
LARGE = 2_000_000  # the limit of an outbox that accepts it


async def test_a_refused_event_is_parked_with_its_key_and_other_keys_are_published(
    bus: Bus,
) -> None:
    outbox = Outbox(bus.tables, max_data_bytes=LARGE)
    before, refused = bus.event("bad"), bus.event("bad", data=TOO_LARGE)
    blocked, other = bus.event("bad"), bus.event("good")
    await bus.commit(before, refused, blocked, other, outbox=outbox)
    relay = bus.relay()
    assert await relay.publish_once() == 2
    later_blocked, later = bus.event("bad"), bus.event("good")
    await bus.commit(later_blocked, later)
    assert await relay.publish_once() == 1
    assert await relay.publish_once() == 0
    assert await bus.stored_ids() == [before.id, other.id, later.id]
    assert await bus.unpublished() == [refused.id, blocked.id, later_blocked.id]


async def test_a_refused_event_also_blocks_events_that_were_read_before_it_was_parked(
    bus: Bus,
) -> None:
    """The next batch is read while the one of the refused event is published."""
    refused, blocked = bus.event("bad"), bus.event("bad")
    await bus.commit(bus.event("good"), refused, blocked, bus.event("good"))
    relay = bus.relay(RefusingPublisher(bus.broker, refused), batch_size=2)
    assert [await relay.publish_once() for _ in range(3)] == [1, 1, 0]
    assert await bus.unpublished() == [refused.id, blocked.id]


async def test_the_backlog_counts_parked_events_and_the_events_they_block(
    bus: Bus,
) -> None:
    outbox = Outbox(bus.tables, max_data_bytes=LARGE)
    await bus.commit(bus.event("bad", data=TOO_LARGE), bus.event("bad"), outbox=outbox)
    await bus.relay().publish_once()
    await bus.commit(bus.event("good"))
    async with bus.engine.connect() as connection:
        found = await backlog(connection, bus.tables)
    assert (found.count, found.parked) == (3, 2)
    reasons = [row["parked_reason"] for row in await bus.rows(bus.tables.outbox)]
    assert "max" in reasons[0].lower()
    assert reasons[1:] == [None, None]


async def test_an_unparked_event_is_published_before_the_events_it_blocked(bus: Bus) -> None:
    outbox = Outbox(bus.tables, max_data_bytes=LARGE)
    refused, blocked = bus.event("bad", data=TOO_LARGE), bus.event("bad")
    await bus.commit(refused, blocked, outbox=outbox)
    relay = bus.relay()
    await relay.publish_once()
    await bus.execute(update(bus.tables.outbox).values(parked_reason=None, data=b"small"))
    assert await relay.publish_once() == 2
    assert await bus.stored_ids() == [refused.id, blocked.id]


async def test_a_parked_event_without_a_key_blocks_no_other_event(
    bus: Bus,
) -> None:
    await bus.commit(bus.event(data=TOO_LARGE), outbox=Outbox(bus.tables, max_data_bytes=LARGE))
    relay = bus.relay()
    await relay.publish_once()
    await bus.commit(bus.event())
    assert await relay.publish_once() == 1


async def test_retried_parked_events_are_published_in_their_order(bus: Bus) -> None:
    refused, blocked, other = bus.event("bad"), bus.event("bad"), bus.event("good")
    publisher = RefusingPublisher(bus.broker, refused)
    relay = bus.relay(publisher)
    await bus.commit(refused, blocked, other)
    assert await relay.publish_once() == 1
    publisher.refused.clear()
    assert await relay.publish_once() == 0
    assert await bus.retry_parked() == 2
    assert await relay.publish_once() == 2
    assert await bus.stored_ids() == [other.id, refused.id, blocked.id]
    assert await bus.unpublished() == []
    assert await bus.retry_parked() == 0


async def test_an_event_that_is_refused_again_is_parked_again(bus: Bus) -> None:
    refused, blocked = bus.event("bad"), bus.event("bad")
    relay = bus.relay(RefusingPublisher(bus.broker, refused))
    await bus.commit(refused, blocked)
    await relay.publish_once()
    for _ in range(2):
        assert await bus.retry_parked() == 2
        assert await relay.publish_once() == 0
    assert await bus.unpublished() == [refused.id, blocked.id]
    assert [row["parked_reason"] is None for row in await bus.rows(bus.tables.outbox)] == [
        False,
        True,
    ]
