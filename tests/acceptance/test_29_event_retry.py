"""Event retry: tries go on, with growing delays and one effect, over a real broker's restart.

Also what has become a dead letter before the restart is mended by its replay after it.
"""

import pytest

from tests.system.drivers.db_faults import (
    dead_letter,
    failed_times,
    failures,
    no_session_for,
    replay_of,
)
from tests.system.drivers.running_stack import PAID, RunningStack


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_proof_29_tries_go_on_over_a_restart_of_the_broker(
    disruptable_stack: RunningStack, how: str
) -> None:
    """The broker goes between two tries: the count of failures goes on, and one session comes."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with no_session_for(disruptable_stack, order_id):
        await journey.pay(order_id)
        await failed_times(disruptable_stack, order_id, 2)
        if how == "killed":
            await disruptable_stack.stack.kill("nats")
        else:
            await disruptable_stack.stack.terminate("nats")
        seen = len(failures(disruptable_stack, order_id))
        await disruptable_stack.stack.start("nats")
        await failed_times(disruptable_stack, order_id, seen + 1)
        assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.wait_for_effects(order_id, PAID)
    failed = failures(disruptable_stack, order_id)
    assert [failure["failures"] for failure in failed] == list(range(1, len(failed) + 1))
    delays = [failure["delay_seconds"] for failure in failed]
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[2]
    assert len(disruptable_stack.mails(journey)) == 1


async def test_proof_29_a_dead_letter_outlives_the_broker(disruptable_stack: RunningStack) -> None:
    """Given up, the broker killed and back, replayed: one session."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with no_session_for(disruptable_stack, order_id):
        await journey.pay(order_id)
        letter = await dead_letter(disruptable_stack, order_id)
        await disruptable_stack.stack.kill("nats")
        await disruptable_stack.stack.start("nats")
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.clients.ops["interview"].ReplayDeadLetter(replay_of(letter, "mending"))
    await disruptable_stack.wait_for_effects(order_id, PAID)
