"""Interview's part of the refund saga, while payment is stopped: the test publishes its events."""

import grpc
import pytest

from interview.v1 import events_pb2 as interview_events
from interview.v1 import session_pb2
from payment.v1 import events_pb2
from runtime.violations import violations
from tests.system.drivers.dead_letters import wait_for_dead_letter
from tests.system.drivers.fake_events import FakeOrder, wait_until_handled
from tests.system.drivers.grpc_calls import raises_payment_unavailable, raises_rpc_error
from tests.system.drivers.interviews import Interview
from tests.system.drivers.running_stack import RunningStack

CANCELLED = session_pb2.SESSION_STATUS_CANCELLED
EXPIRED = session_pb2.SESSION_STATUS_EXPIRED
PREPARED = session_pb2.SESSION_STATUS_PREPARED


async def order_with_prepared_session(stack: RunningStack) -> FakeOrder:
    order = FakeOrder(stack)
    await order.publish(order.payment_completed(), handled_by="interview")
    return order


async def order_with_started_session(stack: RunningStack) -> tuple[FakeOrder, Interview]:
    """Interview starts the session from its local cache."""
    order = await order_with_prepared_session(stack)
    return order, Interview(stack, await stack.journey().start(order.access_code))


async def test_interview_withholds_a_prepared_session_and_starts_it_no_more(
    stack_without_payment: RunningStack,
) -> None:
    """It answers a repeated request, which has another event id, again."""
    order = await order_with_prepared_session(stack_without_payment)
    request = order.refund_requested()
    await order.publish(request, handled_by="interview")
    answer = await stack_without_payment.wait_for_event(
        interview_events.SessionWithheld, order.order_id
    )
    session = await order.get_session()
    assert (answer.refund_id, answer.session_id) == (request.refund_id, session.session_id)
    assert violations(answer) == []
    with raises_rpc_error("ACCESS_CODE_SUSPENDED", grpc.StatusCode.FAILED_PRECONDITION):
        await stack_without_payment.journey().start(order.access_code)
    request.ask = 2
    await order.publish(request, handled_by="interview")
    answers = await stack_without_payment.wait_for_events(
        interview_events.SessionWithheld, order.order_id, 2
    )
    assert {answer.refund_id for answer in answers} == {request.refund_id}
    assert (await order.get_session()).status == PREPARED


async def test_interview_answers_a_refund_of_an_order_without_a_session(
    stack_without_payment: RunningStack,
) -> None:
    """It has not received PaymentCompleted."""
    order = FakeOrder(stack_without_payment)
    await order.publish(order.refund_requested(version=2), handled_by="interview")
    answer = await stack_without_payment.wait_for_event(
        interview_events.SessionWithheld, order.order_id
    )
    assert answer.session_id == ""


@pytest.mark.parametrize("end", ["", "complete", "cancel"])
async def test_interview_answers_that_the_session_is_started_also_after_its_end(
    stack_without_payment: RunningStack, end: str
) -> None:
    """By InterviewStarted with the refund's id, and whether the interview was completed."""
    order, interview = await order_with_started_session(stack_without_payment)
    if end:
        await getattr(interview, end)()
    request = order.refund_requested()
    await order.publish(request, handled_by="interview")
    started, answer = await stack_without_payment.wait_for_events(
        interview_events.InterviewStarted, order.order_id, 2
    )
    assert (started.refund_id, answer.refund_id) == ("", request.refund_id)
    assert answer.interview_ended == (end == "complete")
    answer.refund_id, answer.interview_ended = "", False
    assert answer == started
    withheld = f"interview.v1.SessionWithheld.{order.order_id}"
    assert await stack_without_payment.message_count(withheld) == 0


async def test_an_outdated_request_is_not_answered(stack_without_payment: RunningStack) -> None:
    """The refund has failed since: the code is ACTIVE at a newer version."""
    order = await order_with_prepared_session(stack_without_payment)
    await order.publish(order.refund_failed(version=3), handled_by="interview")
    await order.publish(order.refund_requested(version=2), handled_by="interview")
    current = order.refund_requested(version=4)
    await order.publish(current, handled_by="interview")
    answer = await stack_without_payment.wait_for_event(
        interview_events.SessionWithheld, order.order_id
    )
    assert answer.refund_id == current.refund_id
    withheld = f"interview.v1.SessionWithheld.{order.order_id}"
    assert await stack_without_payment.message_count(withheld) == 1


async def test_a_completed_refund_without_an_access_code_changes_nothing(
    stack_without_payment: RunningStack,
) -> None:
    order = FakeOrder(stack_without_payment)
    event = order.refund_completed()
    event.ClearField("record")
    await order.publish(event, handled_by="interview")
    count = "SELECT count(*) FROM interview.cached_codes WHERE order_id = $1"
    assert await stack_without_payment.fetch_value(count, order.order_id) == 0


async def test_a_reissued_code_starts_the_session_and_the_old_one_does_not(
    stack_without_payment: RunningStack,
) -> None:
    order = await order_with_prepared_session(stack_without_payment)
    session, old_code = await order.get_session(), order.access_code
    await order.publish(order.access_code_reissued(), handled_by="interview")
    with raises_payment_unavailable():
        await stack_without_payment.journey().start(old_code)
    started = await stack_without_payment.journey().start(order.access_code)
    assert started.session_id == session.session_id
    assert started.access_code_id == order.access_code_id


@pytest.mark.parametrize(
    ("newest", "status", "event"),
    [
        ("SUSPENDED", PREPARED, interview_events.SessionPrepared),
        ("REVOKED", CANCELLED, interview_events.SessionCancelled),
        ("EXPIRED", EXPIRED, interview_events.SessionExpired),
    ],
)
async def test_a_late_payment_completed_creates_the_session_in_the_state_of_the_newest_record(
    stack_without_payment: RunningStack, newest: str, status: int, event: type
) -> None:
    """Interview has received later events about the code before, such as a refund's request."""
    order = FakeOrder(stack_without_payment)
    await order.publish(order.refund_requested(version=2), handled_by="interview")
    changed = order.access_code_event(events_pb2.AccessCodeExpired, newest, version=3)
    await order.publish(changed, handled_by="interview")
    await order.publish(order.payment_completed(), handled_by="interview")
    session = await order.get_session()
    assert (session.status, session.customer_id) == (status, order.customer_id)
    assert session.question_set.language_code == "en"
    await stack_without_payment.wait_for_event(event, order.order_id)


async def test_events_of_many_orders_in_batches_have_their_own_effects(
    stack_without_payment: RunningStack,
) -> None:
    orders = [FakeOrder(stack_without_payment) for _ in range(40)]
    event_ids = []
    for order in orders:
        event_ids += [
            await order.publish(order.refund_requested(version=2)),
            await order.publish(order.payment_completed()),
        ]
    for event_id in event_ids:
        await wait_until_handled(stack_without_payment, "interview", event_id)
    for order in orders:
        assert (await order.get_session()).status == PREPARED
        answer = await stack_without_payment.wait_for_event(
            interview_events.SessionWithheld, order.order_id
        )
        assert answer.order_id == order.order_id
        withheld = f"interview.v1.SessionWithheld.{order.order_id}"
        assert await stack_without_payment.message_count(withheld) == 1


@pytest.mark.parametrize("end", ["", "cancel"])
async def test_a_refund_after_a_reverted_start_is_answered_with_withheld(
    stack_without_payment: RunningStack, end: str
) -> None:
    """Payment has rejected the use of the code, so that the customer's money may be refunded.

    Also if the customer cancelled the interview before.
    """
    order, interview = await order_with_started_session(stack_without_payment)
    if end:
        await getattr(interview, end)()
    rejected = order.access_code_use_rejected(interview.session_id)
    await order.publish(rejected, handled_by="interview")
    request = order.refund_requested(status="REVOKED")
    await order.publish(request, handled_by="interview")
    answer = await stack_without_payment.wait_for_event(
        interview_events.SessionWithheld, order.order_id
    )
    assert (answer.refund_id, answer.session_id) == (request.refund_id, interview.session_id)


async def test_a_completed_session_whose_use_is_rejected_stays_and_is_logged(
    stack_without_payment: RunningStack,
) -> None:
    """It is marked as used without right."""
    order, interview = await order_with_started_session(stack_without_payment)
    await interview.complete()
    rejected = order.access_code_use_rejected(interview.session_id)
    await order.publish(rejected, handled_by="interview")
    session = await interview.get_session()
    assert session.status == session_pb2.SESSION_STATUS_COMPLETED
    assert session.used_without_right
    (entry,) = stack_without_payment.log_entries(
        "interview", event="code used without right", session_id=interview.session_id
    )
    assert entry["level"] == "warning"


async def test_an_event_with_the_record_of_another_order_is_a_dead_letter(
    stack_without_payment: RunningStack,
) -> None:
    """It changes neither order."""
    order, other = [await order_with_prepared_session(stack_without_payment) for _ in range(2)]
    event = events_pb2.AccessCodeRevoked(order_id=order.order_id, record=other.record("REVOKED"))
    await wait_for_dead_letter(stack_without_payment, await order.publish(event))
    for unchanged in (order, other):
        assert (await unchanged.get_session()).status == PREPARED
