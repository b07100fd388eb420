"""notification has a durable consumer of the same name on two streams: they stay separate."""

from ops.v1 import ops_service_pb2
from tests.system.drivers.db_faults import failing_inserts
from tests.system.drivers.dead_letters import replay_dead_letter, wait_for_dead_letter
from tests.system.drivers.fake_events import FakeOrder
from tests.system.drivers.running_stack import RunningStack


async def _dead_letter_counts(stack: RunningStack) -> dict[str, int]:
    """The open dead letters of notification's consumers by stream."""
    status = await stack.clients.ops["notification"].GetBusStatus(
        ops_service_pb2.GetBusStatusRequest()
    )
    assert {consumer.consumer for consumer in status.consumers} == {"notification"}
    return {consumer.stream: consumer.dead_letter_count for consumer in status.consumers}


async def test_dead_letters_of_each_stream_are_counted_and_replayed_separately(
    disruptable_stack: RunningStack,
) -> None:
    """Sequences of two streams are not compared: later events of the other do not count."""
    order = FakeOrder(disruptable_stack)
    before = await _dead_letter_counts(disruptable_stack)
    # The sequences of the other stream are far ahead.
    for _ in range(20):
        await order.publish(order.session_cancelled("REFUNDED"), handled_by="notification")
    table = "notification.notifications"
    async with failing_inserts(disruptable_stack, table, order.order_id):
        event_ids = [
            await order.publish(order.payment_completed()),
            await order.publish(order.feedback_published()),
        ]
        dead_letters = [
            await wait_for_dead_letter(disruptable_stack, event_id, "notification")
            for event_id in event_ids
        ]
        counts = await _dead_letter_counts(disruptable_stack)
    assert counts == {stream: count + 1 for stream, count in before.items()}
    assert set(counts) == {"PAYMENT", "INTERVIEW"}
    for dead_letter in dead_letters:
        reply = await replay_dead_letter(disruptable_stack, dead_letter, "notification")
        assert not reply.later_events_passed
        await order.wait_for_mail(dead_letter.event_id, "SENT")
    assert await _dead_letter_counts(disruptable_stack) == before
