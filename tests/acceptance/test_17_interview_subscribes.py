"""interview subscribes: its durable consumer survives a restart of interview without a gap."""

import pytest
from nats.js.api import ConsumerInfo

from tests.system.drivers.effects import PAID
from tests.system.drivers.running_stack import RunningStack


async def _consumer_info(stack: RunningStack) -> ConsumerInfo:
    async with stack.nats() as client:
        return await client.jetstream().consumer_info("PAYMENT", "interview")


def _handled_count(stack: RunningStack, order_id: str) -> int:
    """How often interview has handled the order's PaymentCompleted."""
    # The line at DEBUG, which each event has.
    handled = {"event": "event handled", "event_type": "payment.v1.PaymentCompleted"}
    return len(stack.log_entries("interview", **handled, key=order_id))


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_restart_leaves_no_gap(disruptable_stack: RunningStack, how: str) -> None:
    """Events before, during and after it are handled once each, by the same consumer."""
    before = await _consumer_info(disruptable_stack)
    assert before.config.durable_name == "interview"
    orders = [await disruptable_stack.journey().paid_order() for _ in range(3)]
    if how == "stopped":
        await disruptable_stack.devstack.terminate("interview")
    else:
        await disruptable_stack.devstack.kill("interview")
    missed = [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for order_id in missed:
        await disruptable_stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
        assert (await disruptable_stack.effects(order_id)).sessions == 0
    assert ((await _consumer_info(disruptable_stack)).num_pending or 0) >= len(missed)
    await disruptable_stack.devstack.start("interview")
    orders += missed + [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for order_id in orders:
        await disruptable_stack.wait_for_effects(order_id, PAID)
        # A killed process may not have written the lines of its last moment.
        assert _handled_count(disruptable_stack, order_id) <= 1
    after = await _consumer_info(disruptable_stack)
    assert after.created == before.created
    assert (after.num_pending, after.num_ack_pending) == (0, 0)
