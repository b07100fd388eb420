"""Event retry: attempts go on across a restart of the broker, with growing delays and one effect.

A dead letter from before the restart is replayed after it.
"""

import pytest

from tests.system.drivers.db_faults import (
    failing_session_insert,
    handler_failures,
    wait_for_handler_failures,
)
from tests.system.drivers.dead_letters import replay_dead_letter, wait_for_dead_letter
from tests.system.drivers.effects import PAID
from tests.system.drivers.running_stack import RunningStack


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_attempts_go_on_across_a_restart_of_the_broker(
    disruptable_stack: RunningStack, how: str
) -> None:
    """The broker restarts between two attempts: failures are counted on, one session comes."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with failing_session_insert(disruptable_stack, order_id):
        await journey.pay(order_id)
        await wait_for_handler_failures(disruptable_stack, order_id, 2)
        if how == "killed":
            await disruptable_stack.devstack.kill("nats")
        else:
            await disruptable_stack.devstack.terminate("nats")
        count = len(handler_failures(disruptable_stack, order_id))
        await disruptable_stack.devstack.start("nats")
        await wait_for_handler_failures(disruptable_stack, order_id, count + 1)
        assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.wait_for_effects(order_id, PAID)
    failures = handler_failures(disruptable_stack, order_id)
    assert [failure["failures"] for failure in failures] == list(range(1, len(failures) + 1))
    delays = [failure["delay_seconds"] for failure in failures]
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[2]
    assert len(disruptable_stack.mails(journey)) == 1


async def test_a_dead_letter_survives_a_restart_of_the_broker(
    disruptable_stack: RunningStack,
) -> None:
    """The broker is killed and started again; the replay prepares one session."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with failing_session_insert(disruptable_stack, order_id):
        await journey.pay(order_id)
        dead_letter = await wait_for_dead_letter(disruptable_stack, order_id)
        await disruptable_stack.devstack.kill("nats")
        await disruptable_stack.devstack.start("nats")
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    await replay_dead_letter(disruptable_stack, dead_letter)
    await disruptable_stack.wait_for_effects(order_id, PAID)
