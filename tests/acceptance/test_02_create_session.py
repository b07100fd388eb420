"""Handler interview.createSession: the event alone gives a paid order one PREPARED session.

Payment calls no other service for it.
"""

from datetime import UTC, datetime

from interview.v1 import session_pb2
from tests.system.drivers.effects import PAID
from tests.system.drivers.interviews import get_session_of
from tests.system.drivers.running_stack import RunningStack


async def test_a_paid_order_has_one_prepared_session(shared_stack: RunningStack) -> None:
    """It has the order's customer and product, and questions; it is not started."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    await shared_stack.wait_for_effects(order_id, PAID)
    session = await get_session_of(shared_stack, order_id)
    assert session.status == session_pb2.SESSION_STATUS_PREPARED
    assert (session.order_id, session.customer_id) == (order_id, journey.name)
    assert session.product_id == "backend-60"
    assert session.question_set.question_count > 0
    assert not session.HasField("started_at")


async def test_payment_makes_no_call_to_interview(shared_stack: RunningStack) -> None:
    """From the order to its session, interview serves no call and handles one event."""
    journey = shared_stack.journey()
    started = datetime.now(UTC)
    order_id = await journey.paid_order()
    await shared_stack.wait_for_effects(order_id, PAID)
    calls = shared_stack.log_entries("interview", event="call")
    assert [call for call in calls if datetime.fromisoformat(call["timestamp"]) > started] == []
    assert not [call for call in calls if call.get("caller", "").startswith("service:")]
    handled = await shared_stack.wait_for_log_entries(
        "interview",
        event="event handled",
        event_type="payment.v1.PaymentCompleted",
        key=order_id,
    )
    assert len(handled) == 1
