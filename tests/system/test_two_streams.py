"""notification hears two streams through durables of one name; they don't get mixed up."""

from devstack.polling import wait_until
from ops.v1 import ops_service_pb2
from tests.system.drivers.fake_events import MadeUpOrder
from tests.system.drivers.running_stack import RunningStack

FAULT = """
CREATE FUNCTION notification.fault() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'not today'; END $$;
CREATE TRIGGER fault BEFORE INSERT ON notification.notifications FOR EACH ROW
WHEN (NEW.order_id = '{order_id}') EXECUTE FUNCTION notification.fault()
"""
MENDED = """
DROP TRIGGER fault ON notification.notifications;
DROP FUNCTION notification.fault()
"""


async def _dead(disruptable_stack: RunningStack, event_id: str) -> ops_service_pb2.DeadLetter:
    ops = disruptable_stack.clients.ops["notification"]

    async def look() -> ops_service_pb2.DeadLetter | None:
        request = ops_service_pb2.ListDeadLettersRequest(page_size=500)
        letters = (await ops.ListDeadLetters(request)).dead_letters
        return next((one for one in letters if one.event_id == event_id), None)

    return await wait_until(look, f"{event_id} is a dead letter", 90)


async def _counts(disruptable_stack: RunningStack) -> dict[str, int]:
    ops = disruptable_stack.clients.ops["notification"]
    status = await ops.GetBusStatus(ops_service_pb2.GetBusStatusRequest())
    assert {one.consumer for one in status.consumers} == {"notification"}
    return {one.stream: one.dead_letter_count for one in status.consumers}


async def test_each_streams_dead_letters_are_counted_and_replayed_by_its_own_consumer(
    disruptable_stack: RunningStack,
) -> None:
    """Sequences of two streams don't compare: only later events of its own count as passed."""
    order = MadeUpOrder(disruptable_stack)
    before = await _counts(disruptable_stack)
    # The other stream is far ahead in its numbers.
    for _ in range(20):
        await order.heard(await order.session_cancelled("REFUNDED"))
    async with disruptable_stack.sql() as superuser:
        await superuser.execute(FAULT.format(order_id=order.order_id))
    try:
        events = [await order.payment_completed(), await order.feedback_published()]
        letters = [await _dead(disruptable_stack, event_id) for event_id in events]
        counts = await _counts(disruptable_stack)
    finally:
        async with disruptable_stack.sql() as superuser:
            await superuser.execute(MENDED)
    assert counts == {stream: count + 1 for stream, count in before.items()}
    assert set(counts) == {"PAYMENT", "INTERVIEW"}
    for letter in letters:
        replay = ops_service_pb2.ReplayDeadLetterRequest(
            dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-replay"
        )
        replayed = await disruptable_stack.clients.ops["notification"].ReplayDeadLetter(replay)
        assert not replayed.later_events_passed
        await order.mail_about(letter.event_id, "SENT")
    assert await _counts(disruptable_stack) == before
