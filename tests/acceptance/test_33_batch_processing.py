"""Batch processing of events: waiting events are handled in batches, a batch in one transaction.

A poison message holds up no other event of its batch.
"""

from collections import Counter

from runtime.protobuf import to_datetime
from tests.system.drivers.db_faults import failing_session_insert
from tests.system.drivers.dead_letters import replay_dead_letter, wait_for_dead_letter
from tests.system.drivers.effects import PAID
from tests.system.drivers.running_stack import RunningStack

_ORDERS = 30


async def _pay_orders_while_interview_is_down(stack: RunningStack) -> list[str]:
    """The ids of orders whose events wait for interview."""
    await stack.devstack.terminate("interview")
    orders = [await stack.journey().paid_order() for _ in range(_ORDERS)]
    for order_id in orders:
        await stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    return orders


async def _wait_for_effects_of_all(stack: RunningStack, orders: list[str]) -> None:
    await stack.wait_for_effects(orders[-1], PAID)
    for order_id in orders:
        assert await stack.effects(order_id) == PAID


async def test_a_batch_is_handled_in_one_transaction(disruptable_stack: RunningStack) -> None:
    """Rows of many orders in sessions, cached codes and inbox have the same transaction id."""
    orders = await _pay_orders_while_interview_is_down(disruptable_stack)
    await disruptable_stack.devstack.start("interview")
    await _wait_for_effects_of_all(disruptable_stack, orders)
    rows = await disruptable_stack.fetch_rows(
        "SELECT session.xmin::text AS session, cached.xmin::text AS cached,"
        "   inbox.xmin::text AS inbox"
        " FROM interview.sessions session"
        " JOIN interview.cached_codes cached USING (order_id)"
        " JOIN interview.inbox inbox ON inbox.key = order_id"
        " WHERE order_id = ANY($1)",
        orders,
    )
    assert len(rows) == _ORDERS
    assert all(row["session"] == row["cached"] == row["inbox"] for row in rows)
    batch_sizes = Counter(row["inbox"] for row in rows)
    assert max(batch_sizes.values()) >= _ORDERS // 2
    assert len(batch_sizes) <= _ORDERS // 5


async def test_a_poison_message_delays_no_other_event(disruptable_stack: RunningStack) -> None:
    """All others of its batch take effect while it fails; after its replay it does too."""
    orders = await _pay_orders_while_interview_is_down(disruptable_stack)
    poison = orders[_ORDERS // 2]
    async with failing_session_insert(disruptable_stack, poison):
        await disruptable_stack.devstack.start("interview")
        dead_letter = await wait_for_dead_letter(disruptable_stack, poison)
        # All others, also those behind it, took effect before it became a dead letter.
        sessions = "SELECT count(*) FROM interview.sessions WHERE order_id = ANY($1)"
        earlier = f"{sessions} AND prepared_at < $2"
        dead_at = to_datetime(dead_letter.dead_at)
        assert await disruptable_stack.fetch_value(earlier, orders, dead_at) == _ORDERS - 1
        assert await disruptable_stack.fetch_value(sessions, [poison]) == 0
        dead_letters = "SELECT count(*) FROM interview.dead_letters WHERE key = ANY($1)"
        assert await disruptable_stack.fetch_value(dead_letters, orders) == 1
    others = [order_id for order_id in orders if order_id != poison]
    await _wait_for_effects_of_all(disruptable_stack, others)
    await replay_dead_letter(disruptable_stack, dead_letter)
    await disruptable_stack.wait_for_effects(poison, PAID)
