"""interview subscribes: its durable consumer survives a restart of interview without a gap."""

import pytest
from nats.js.api import ConsumerInfo

from tests.system.drivers.running_stack import PAID, RunningStack


async def _consumer(outside: RunningStack) -> ConsumerInfo:
    async with outside.nats() as client:
        return await client.jetstream().consumer_info("PAYMENT", "interview")


async def _handled(outside: RunningStack, order_id: str) -> int:
    """How often interview handled the order's PaymentCompleted."""
    lines = outside.log_lines("interview", event="event handled", key=order_id)
    return sum(line["event_type"] == "payment.v1.PaymentCompleted" for line in lines)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_proof_17_no_gap_over_a_restart(disruptable_stack: RunningStack, how: str) -> None:
    """Events before, during and after it are handled once each, through the same consumer."""
    before = await _consumer(disruptable_stack)
    assert before.config.durable_name == "interview"
    orders = [await disruptable_stack.journey().paid_order() for _ in range(3)]
    if how == "stopped":
        await disruptable_stack.stack.terminate("interview")
    else:
        await disruptable_stack.stack.kill("interview")
    missed = [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for order_id in missed:
        await disruptable_stack.stored(f"payment.v1.PaymentCompleted.{order_id}")
        assert (await disruptable_stack.effects(order_id)).sessions == 0
    assert ((await _consumer(disruptable_stack)).num_pending or 0) >= len(missed)
    await disruptable_stack.stack.start("interview")
    orders += missed + [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for order_id in orders:
        await disruptable_stack.wait_for_effects(order_id, PAID)
        assert await _handled(disruptable_stack, order_id) == 1
    after = await _consumer(disruptable_stack)
    assert after.created == before.created  # nobody made it anew
    assert (after.num_pending, after.num_ack_pending) == (0, 0)
