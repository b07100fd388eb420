"""Retry: a handler that fails some times and then works is tried with growing delays.

There is one session in the end; beyond the limit of tries there is a dead letter, and its replay
mends it.
"""

import grpc
import pytest

from clients import reason_of
from ops.v1 import ops_service_pb2
from tests.system.drivers.db_faults import (
    dead_letter,
    failed_times,
    failures,
    no_session_for,
    replay_of,
)
from tests.system.drivers.running_stack import PAID, Effects, RunningStack
from tests.system.drivers.stack_settings import ENVIRONMENT

MAX_ATTEMPTS = int(ENVIRONMENT["interview"]["INTERVIEW_BUS_MAX_ATTEMPTS"])


async def test_proof_18_a_handler_that_fails_and_then_works_has_one_effect(
    disruptable_stack: RunningStack,
) -> None:
    """Each try waits longer than the one before; in the end there is one session."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with no_session_for(disruptable_stack, order_id):
        await journey.pay(order_id)
        await failed_times(disruptable_stack, order_id, 3)
        assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.wait_for_effects(order_id, PAID)
    failed = failures(disruptable_stack, order_id)
    assert {failure["decision"] for failure in failed} == {"Nak"}
    assert [failure["failures"] for failure in failed] == list(range(1, len(failed) + 1))
    delays = [failure["delay_seconds"] for failure in failed]
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[2]


async def test_proof_18_beyond_the_limit_it_is_a_dead_letter_and_a_replay_mends_it(
    disruptable_stack: RunningStack,
) -> None:
    """Tried as often as the setting says, then kept; replayed when the cause is gone: once."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    ops = disruptable_stack.clients.ops["interview"]
    async with no_session_for(disruptable_stack, order_id):
        await journey.pay(order_id)
        letter = await dead_letter(disruptable_stack, order_id)
        assert letter.attempts == MAX_ATTEMPTS == len(failures(disruptable_stack, order_id))
        assert letter.event_type == "payment.v1.PaymentCompleted"
        assert "refused by the test" in letter.reason
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ops.ReplayDeadLetter(replay_of(letter, "in-vain"))
        assert reason_of(refused.value) == "REPLAY_FAILED"
        await disruptable_stack.wait_until_idle()
        assert await disruptable_stack.effects(order_id) == Effects(1, 1, 0, 0, 0, 0, 1, 1)
    await ops.ReplayDeadLetter(replay_of(letter, "mending"))
    await disruptable_stack.wait_for_effects(order_id, PAID)
    with pytest.raises(grpc.aio.AioRpcError) as closed:
        await ops.ReplayDeadLetter(replay_of(letter, "again"))
    assert reason_of(closed.value) == "DEAD_LETTER_CLOSED"
    listed = await ops.ListDeadLetters(ops_service_pb2.ListDeadLettersRequest(page_size=500))
    assert letter.dead_letter_id not in {one.dead_letter_id for one in listed.dead_letters}
    await disruptable_stack.wait_for_effects(order_id, PAID)
