"""Retry: a handler that fails some times and then works is retried with growing delays.

The effect occurs once. Beyond the limit of attempts there is a dead letter, and its replay repairs
the effect.
"""

import json

from ops.v1 import ops_service_pb2
from tests.system.drivers.db_faults import (
    FAULT,
    failing_session_insert,
    handler_failures,
    wait_for_handler_failures,
)
from tests.system.drivers.dead_letters import (
    list_dead_letters,
    replay_dead_letter,
    wait_for_dead_letter,
)
from tests.system.drivers.effects import PAID, PAID_WITHOUT_SESSION
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import ENVIRONMENT

MAX_ATTEMPTS = int(ENVIRONMENT["interview"]["INTERVIEW_BUS_MAX_ATTEMPTS"])


async def test_a_handler_that_fails_and_then_works_has_one_effect(
    disruptable_stack: RunningStack,
) -> None:
    """The delay grows from attempt to attempt; in the end there is one session."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with failing_session_insert(disruptable_stack, order_id):
        await journey.pay(order_id)
        await wait_for_handler_failures(disruptable_stack, order_id, 3)
        assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.wait_for_effects(order_id, PAID)
    failures = handler_failures(disruptable_stack, order_id)
    assert {failure["decision"] for failure in failures} == {"Nak"}
    assert [failure["failures"] for failure in failures] == list(range(1, len(failures) + 1))
    delays = [failure["delay_seconds"] for failure in failures]
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[2]


async def test_beyond_the_limit_there_is_a_dead_letter_whose_replay_repairs_the_effect(
    disruptable_stack: RunningStack,
) -> None:
    """It keeps the whole event and shows it without the code; it is replayed once."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with failing_session_insert(disruptable_stack, order_id):
        await journey.pay(order_id)
        dead_letter = await wait_for_dead_letter(disruptable_stack, order_id)
        assert dead_letter.attempts == MAX_ATTEMPTS
        assert len(handler_failures(disruptable_stack, order_id)) == MAX_ATTEMPTS
        assert dead_letter.event_type == "payment.v1.PaymentCompleted"
        assert FAULT in dead_letter.reason
        shown = await disruptable_stack.clients.ops["interview"].GetDeadLetter(
            ops_service_pb2.GetDeadLetterRequest(dead_letter_id=dead_letter.dead_letter_id)
        )
        assert shown.headers["ce-id"] == dead_letter.event_id
        code = (await disruptable_stack.access_code(order_id)).code
        assert json.loads(shown.decoded_json)["access_code"] == f"****-****-****-{code[-4:]}"
        request_id = f"{dead_letter.dead_letter_id}-replay"
        with raises_rpc_error("REPLAY_FAILED"):
            await replay_dead_letter(disruptable_stack, dead_letter, request_id=request_id)
        await disruptable_stack.wait_until_idle()
        assert await disruptable_stack.effects(order_id) == PAID_WITHOUT_SESSION
    replayed = await replay_dead_letter(disruptable_stack, dead_letter, request_id=request_id)
    assert not replayed.later_events_passed
    await disruptable_stack.wait_for_effects(order_id, PAID)
    repeated = await replay_dead_letter(disruptable_stack, dead_letter, request_id=request_id)
    assert repeated == replayed
    with raises_rpc_error("DEAD_LETTER_CLOSED"):
        await replay_dead_letter(disruptable_stack, dead_letter)
    dead_letters = await list_dead_letters(disruptable_stack)
    assert dead_letter.dead_letter_id not in {entry.dead_letter_id for entry in dead_letters}
    await disruptable_stack.wait_for_effects(order_id, PAID)
