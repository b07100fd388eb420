"""interview's cache counts as fresh only up to the events that are handled."""

from datetime import UTC, datetime

from sqlalchemy import select

from devstack.polling import wait_until
from interview_svc.storage.tables import payment_watermark, pending_watermarks
from interview_svc.workers.watermark_tracker import WatermarkTracker
from payment.v1 import events_pb2
from runtime.protobuf import to_event, to_timestamp
from tests.builders.order_events import OrderEvents
from tests.integration.drivers.bus import OpenBus
from tests.integration.drivers.databases import Databases
from tests.integration.services.interview import interview_consumer


async def test_a_watermark_counts_only_once_every_earlier_event_is_handled(
    databases: Databases, new_bus: OpenBus
) -> None:
    """The watermark is handled while the event before it is still being retried."""
    interview = databases["interview"]
    await interview.execute("DELETE FROM interview.pending_watermarks")
    await interview.execute("UPDATE interview.payment_watermark SET covered_as_of = NULL")
    bus = await new_bus(domain="payment")
    consumer = interview_consumer(interview, bus)
    tracker = WatermarkTracker(interview.transactions, consumer.pull_consumer)
    now = datetime.now(UTC)
    for message in (
        OrderEvents().payment_completed(),
        events_pb2.Watermark(as_of=to_timestamp(now)),
    ):
        await bus.send(to_event(message, "payment", now))

    async def watermark_is_answered() -> bool:
        lag = await consumer.pull_consumer.lag()
        return (lag.pending, lag.unacknowledged) == (0, 1)

    covered = select(payment_watermark.c.covered_as_of)
    async with interview.refusing_outbox(payment_watermark):
        await bus.deliver(consumer, 2)
        await wait_until(watermark_is_answered, "the watermark is handled, the event is not")
        assert await interview.values(select(pending_watermarks.c.as_of)) == [now]
        await tracker.update()
        assert await interview.values(covered) == [None]
    await bus.deliver_until_done(consumer)
    await tracker.update()
    assert await interview.values(covered) == [now]
