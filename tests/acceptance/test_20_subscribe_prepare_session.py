"""subscribe → prepareSession(data): an event that is delivered five times prepares one session."""

from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.running_stack import RunningStack


async def _publish_copies(stack: RunningStack, subject: str, name: str) -> None:
    """Publishes the event four more times, under message ids that are new to the broker."""
    for number in range(4):
        await stack.publish_copy(subject, **{"Nats-Msg-Id": f"{name}-{number}"})
    assert await stack.message_count(subject) == 5


async def test_an_event_delivered_five_times_prepares_one_session(
    shared_stack: RunningStack,
) -> None:
    """Interview recognises the copies by the event's id."""
    journey, order_id, _ = await shared_stack.prepare_session()
    session = await journey.wait_for_session(order_id)
    await _publish_copies(shared_stack, f"payment.v1.PaymentCompleted.{order_id}", journey.name)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await journey.wait_for_session(order_id) == session
    assert await shared_stack.message_count(f"interview.v1.SessionPrepared.{order_id}") == 1
    assert len(shared_stack.mails(journey)) == 1


async def test_a_start_delivered_five_times_redeems_the_code_once(
    shared_stack: RunningStack,
) -> None:
    """Payment recognises the copies too, and publishes one redemption."""
    journey, order_id, code = await shared_stack.prepare_session()
    await journey.start(code)
    await _publish_copies(shared_stack, f"interview.v1.InterviewStarted.{order_id}", journey.name)
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert (await journey.wait_for_redemption(order_id)).version == 2
    assert await shared_stack.message_count(f"payment.v1.AccessCodeRedeemed.{order_id}") == 1


async def test_the_same_payment_under_another_event_id_prepares_no_second_session(
    shared_stack: RunningStack,
) -> None:
    """An order has one session, whatever events are published about it."""
    journey, order_id, _ = await shared_stack.prepare_session()
    session = await journey.wait_for_session(order_id)
    other_id = f"evt_{journey.name}"
    await shared_stack.publish_copy(
        f"payment.v1.PaymentCompleted.{order_id}", **{"Nats-Msg-Id": other_id, "ce-id": other_id}
    )
    await shared_stack.wait_until_idle()
    assert (await shared_stack.effects(order_id)).sessions == 1
    assert await journey.wait_for_session(order_id) == session
