"""What the inbox may have forgotten, and what it needn't remember."""

from datetime import timedelta

from sqlalchemy import delete

from tests.integration.bus import Bus
from tests.integration.eventbus.test_reconciliation import check


async def forget_marks(bus: Bus) -> None:
    await bus.execute(delete(bus.tables.inbox))


async def test_a_check_handles_nothing_whose_mark_may_have_been_dropped(bus: Bus) -> None:
    """What lies in the stream longer than marks are kept says nothing by having none."""
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver(bus.consumer(), 1)
    await bus.all_answered()
    await forget_marks(bus)
    found = await check(bus, bus.consumer(inbox_retention=timedelta(0)), repair=True)
    assert (found.unhandled, found.message_count) == ([], 0)
    assert await bus.effect_ids() == [event.id]
    found = await check(bus, bus.consumer(inbox_retention=timedelta(hours=1)), repair=False)
    assert [missing.event_id for missing in found.unhandled] == [event.id]


async def test_tries_of_an_event_are_forgotten_when_it_turns_out_to_be_handled(bus: Bus) -> None:
    """A copy of it was handled in a batch, while it waited for its next try."""
    event, calls = bus.event("a"), 0

    async def fail_at_first(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls <= 2:  # in the batch, and alone
            raise ValueError

    consumer = bus.consumer(bus.handler(fail_at_first))
    await bus.send(event)
    await bus.deliver(consumer, 1)
    assert len(await bus.rows(bus.tables.attempts)) == 1
    await bus.send_copy(event)
    await bus.deliver_until_done(consumer)
    assert await bus.effect_ids() == [event.id]
    assert await bus.rows(bus.tables.attempts) == []
