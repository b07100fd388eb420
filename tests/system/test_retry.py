"""A handler that fails is tried again, then given up, and mended by an operator."""

import json

import grpc
import pytest

from clients import reason_of
from ops.v1 import ops_service_pb2
from tests.system.drivers.db_faults import dead_letter, no_session_for
from tests.system.drivers.running_stack import PAID, Effects, RunningStack
from tests.system.drivers.stack_settings import ENVIRONMENT

MAX_ATTEMPTS = int(ENVIRONMENT["interview"]["INTERVIEW_BUS_MAX_ATTEMPTS"])


async def test_beyond_the_limit_it_is_a_dead_letter_and_a_replay_mends_it(
    disruptable_stack: RunningStack,
) -> None:
    """Kept whole, shown without its secret, replayed once."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    ops = disruptable_stack.clients.ops["interview"]
    async with no_session_for(disruptable_stack, order_id):
        await journey.pay(order_id)
        letter = await dead_letter(disruptable_stack, order_id)
        assert letter.attempts == MAX_ATTEMPTS
        assert "refused by the test" in letter.reason
        assert letter.event_type == "payment.v1.PaymentCompleted"
        shown = await ops.GetDeadLetter(
            ops_service_pb2.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id)
        )
        assert shown.headers["ce-id"] == letter.event_id
        code = (await disruptable_stack.code(order_id)).code
        assert json.loads(shown.decoded_json)["access_code"] == f"****-****-****-{code[-4:]}"
        replay = ops_service_pb2.ReplayDeadLetterRequest(
            dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-Replay"
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ops.ReplayDeadLetter(replay)
        assert reason_of(refused.value) == "REPLAY_FAILED"
        await disruptable_stack.wait_until_idle()
        assert await disruptable_stack.effects(order_id) == Effects(1, 1, 0, 0, 0, 0, 1, 1)
    assert not (await ops.ReplayDeadLetter(replay)).later_events_passed
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert not (await ops.ReplayDeadLetter(replay)).later_events_passed
    replay.request_id = f"{letter.dead_letter_id}-again"
    with pytest.raises(grpc.aio.AioRpcError) as closed:
        await ops.ReplayDeadLetter(replay)
    assert reason_of(closed.value) == "DEAD_LETTER_CLOSED"
    listed = await ops.ListDeadLetters(ops_service_pb2.ListDeadLettersRequest())
    assert letter not in listed.dead_letters
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_a_discarded_dead_letter_stays_without_effect(
    disruptable_stack: RunningStack,
) -> None:
    """Also if its event is announced again."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    ops = disruptable_stack.clients.ops["interview"]
    async with no_session_for(disruptable_stack, order_id):
        await journey.pay(order_id)
        letter = await dead_letter(disruptable_stack, order_id)
    discard = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-Discard"
    )
    await ops.DiscardDeadLetter(discard)
    message = await disruptable_stack.stored(f"payment.v1.PaymentCompleted.{order_id}")
    headers = {**(message.headers or {}), "Nats-Msg-Id": journey.name}
    async with disruptable_stack.nats("payment") as client:
        await client.request(message.subject or "", message.data or b"", headers=headers)
    await disruptable_stack.wait_until_idle()
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    discard.request_id = f"{letter.dead_letter_id}-again"
    with pytest.raises(grpc.aio.AioRpcError) as closed:
        await ops.DiscardDeadLetter(discard)
    assert reason_of(closed.value) == "DEAD_LETTER_CLOSED"


async def test_a_message_that_is_no_event_is_a_dead_letter_at_once(
    disruptable_stack: RunningStack,
) -> None:
    """Garbage on the stream holds up nobody and is kept for a look."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with disruptable_stack.nats("payment") as client:
        await client.request(
            f"payment.v1.PaymentCompleted.{order_id}",
            b"\xff\xff garbage",
            headers={"Nats-Msg-Id": f"garbage-{journey.name}", "ce-id": f"garbage-{journey.name}"},
        )
    letter = await dead_letter(disruptable_stack, order_id)
    assert letter.attempts == 1
    await journey.pay(order_id)
    await disruptable_stack.wait_for_effects(order_id, PAID)
    discard = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-Discard"
    )
    await disruptable_stack.clients.ops["interview"].DiscardDeadLetter(discard)
