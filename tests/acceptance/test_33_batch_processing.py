"""Batch processing of events: what waits is handled in batches, a batch in one transaction.

One poison message holds up nobody else in its batch.
"""

from collections import Counter

from runtime.protobuf import to_datetime
from tests.system.drivers.db_faults import dead_letter, no_session_for, replay_of
from tests.system.drivers.running_stack import PAID, RunningStack

_ORDERS = 30


async def _paid_while_interview_is_away(outside: RunningStack) -> list[str]:
    """Orders whose events wait for interview, all of them."""
    await outside.stack.terminate("interview")
    orders = [await outside.journey().paid_order() for _ in range(_ORDERS)]
    for order_id in orders:
        await outside.stored(f"payment.v1.PaymentCompleted.{order_id}")
    return orders


async def _all_came(outside: RunningStack, orders: list[str]) -> None:
    """Every order has its effects, once nothing is on its way any more."""
    await outside.wait_for_effects(orders[-1], PAID)
    for order_id in orders:
        assert await outside.effects(order_id) == PAID


async def test_proof_33_a_batch_is_one_transaction(disruptable_stack: RunningStack) -> None:
    """Sessions, copies and inbox marks of many orders were written by the same transaction."""
    orders = await _paid_while_interview_is_away(disruptable_stack)
    await disruptable_stack.stack.start("interview")
    await _all_came(disruptable_stack, orders)
    rows = await disruptable_stack.rows(
        "SELECT session.xmin::text AS session, entry.xmin::text AS entry, mark.xmin::text AS mark"
        " FROM interview.sessions session"
        " JOIN interview.cached_codes entry USING (order_id)"
        " JOIN interview.inbox mark ON mark.key = order_id"
        " WHERE order_id = ANY($1)",
        orders,
    )
    assert len(rows) == _ORDERS
    assert all(row["session"] == row["entry"] == row["mark"] for row in rows)
    sizes = Counter(row["mark"] for row in rows)
    assert max(sizes.values()) >= _ORDERS // 2
    assert len(sizes) <= _ORDERS // 5


async def test_proof_33_one_poison_message_holds_up_nobody(disruptable_stack: RunningStack) -> None:
    """While one fails and fails, all others of the batch take effect; in the end it does too."""
    orders = await _paid_while_interview_is_away(disruptable_stack)
    poison = orders[_ORDERS // 2]
    async with no_session_for(disruptable_stack, poison):
        await disruptable_stack.stack.start("interview")
        letter = await dead_letter(disruptable_stack, poison)
        # All others, also those behind it, were served before it was given up.
        served = "SELECT count(*) FROM interview.sessions WHERE order_id = ANY($1)"
        in_time = f"{served} AND prepared_at < $2"
        given_up = to_datetime(letter.dead_at)
        assert await disruptable_stack.value(in_time, orders, given_up) == _ORDERS - 1
        assert await disruptable_stack.value(served, [poison]) == 0
        open_letters = "SELECT count(*) FROM interview.dead_letters WHERE key = ANY($1)"
        assert await disruptable_stack.value(open_letters, orders) == 1
    await _all_came(disruptable_stack, [order_id for order_id in orders if order_id != poison])
    await disruptable_stack.clients.ops["interview"].ReplayDeadLetter(replay_of(letter, "mending"))
    await disruptable_stack.wait_for_effects(poison, PAID)
