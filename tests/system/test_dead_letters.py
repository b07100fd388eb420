"""Dead letters: discarded ones, and messages that are no events.

Retries and replays are in acceptance/test_18_retry.py.
"""

from tests.system.drivers.db_faults import failing_session_insert
from tests.system.drivers.dead_letters import discard_dead_letter, wait_for_dead_letter
from tests.system.drivers.effects import PAID
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.running_stack import RunningStack


async def test_a_discarded_dead_letter_has_no_effect_even_if_its_event_is_published_again(
    disruptable_stack: RunningStack,
) -> None:
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with failing_session_insert(disruptable_stack, order_id):
        await journey.pay(order_id)
        dead_letter = await wait_for_dead_letter(disruptable_stack, order_id)
    await discard_dead_letter(disruptable_stack, dead_letter)
    await disruptable_stack.publish_copy(
        f"payment.v1.PaymentCompleted.{order_id}", **{"Nats-Msg-Id": journey.name}
    )
    await disruptable_stack.wait_until_idle()
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    with raises_rpc_error("DEAD_LETTER_CLOSED"):
        await discard_dead_letter(disruptable_stack, dead_letter)


async def test_a_message_that_is_no_event_is_a_dead_letter_after_one_attempt(
    disruptable_stack: RunningStack,
) -> None:
    """It does not hold up the order's next event."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with disruptable_stack.nats("payment") as client:
        await client.request(
            f"payment.v1.PaymentCompleted.{order_id}",
            b"\xff\xff garbage",
            headers={"Nats-Msg-Id": f"garbage-{journey.name}", "ce-id": f"garbage-{journey.name}"},
        )
    dead_letter = await wait_for_dead_letter(disruptable_stack, order_id)
    assert dead_letter.attempts == 1
    await journey.pay(order_id)
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await discard_dead_letter(disruptable_stack, dead_letter)
