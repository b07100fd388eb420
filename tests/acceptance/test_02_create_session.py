"""Handler interview.createSession: by the event alone, a paid order gets one PREPARED session.

payment calls nobody for it: interview hears of the order on the stream only.
"""

from interview.v1 import interview_service_pb2, session_pb2
from tests.system.drivers.running_stack import PAID, RunningStack


async def test_proof_02_a_paid_order_gets_one_prepared_session(shared_stack: RunningStack) -> None:
    """It is the order's, for its customer and product, with questions, and not started."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    await shared_stack.wait_for_effects(order_id, PAID)
    (session,) = (
        await shared_stack.clients.interviews.ListSessions(
            interview_service_pb2.ListSessionsRequest(order_id=order_id)
        )
    ).sessions
    assert session.status == session_pb2.SESSION_STATUS_PREPARED
    assert (session.order_id, session.customer_id) == (order_id, journey.name)
    assert session.product_id == "backend-60"
    assert session.question_set.question_count > 0
    assert not session.HasField("started_at")


async def test_proof_02_payment_makes_no_call_to_interview(shared_stack: RunningStack) -> None:
    """From order to session interview serves no call; the event is what it handles."""
    journey = shared_stack.journey()
    before = len(shared_stack.log_lines("interview", event="call"))
    order_id = await journey.paid_order()
    await shared_stack.wait_for_effects(order_id, PAID)
    calls = shared_stack.log_lines("interview", event="call")
    assert len(calls) == before
    assert not [call for call in calls if call.get("caller", "").startswith("service:")]
    handled = shared_stack.log_lines(
        "interview",
        event="event handled",
        event_type="payment.v1.PaymentCompleted",
        key=order_id,
    )
    assert len(handled) == 1
