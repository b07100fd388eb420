"""PROOFS 18, 29: a handler that fails is tried again, then given up, and mended by an operator."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from devstack.waiting import eventually
from ops.v1 import ops_service_pb2
from tests.system.conftest import ENVIRONMENT
from tests.system.outside import PAID, Effects, Outside, reason_of

MAX_ATTEMPTS = int(ENVIRONMENT["interview"]["INTERVIEW_BUS_MAX_ATTEMPTS"])


@asynccontextmanager
async def _no_session_for(outside: Outside, order_id: str) -> AsyncIterator[None]:
    """Makes the database refuse the session of one order."""
    async with outside.sql() as superuser:
        await superuser.execute(
            "CREATE OR REPLACE FUNCTION interview.refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'refused by the test'; END $$"
        )
        await superuser.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON interview.sessions FOR EACH ROW"
            f" WHEN (NEW.order_id = '{order_id}') EXECUTE FUNCTION interview.refuse()"
        )
    try:
        yield
    finally:
        async with outside.sql() as superuser:
            await superuser.execute("DROP TRIGGER refuse ON interview.sessions")
            await superuser.execute("DROP FUNCTION interview.refuse()")


def _failures(outside: Outside, order_id: str) -> list[dict[str, Any]]:
    return outside.log_lines("interview", event="event not handled", order_id=order_id)


async def _failed_times(outside: Outside, order_id: str, times: int) -> None:
    async def look() -> bool:
        return len(_failures(outside, order_id)) >= times

    await eventually(look, f"{times} failures of {order_id}", 60)


async def _dead_letter(outside: Outside, order_id: str) -> ops_service_pb2.DeadLetter:
    async def look() -> ops_service_pb2.DeadLetter | None:
        listed = await outside.clients.ops["interview"].ListDeadLetters(
            ops_service_pb2.ListDeadLettersRequest()
        )
        return next((one for one in listed.dead_letters if one.key == order_id), None)

    return await eventually(look, f"a dead letter of {order_id}", 60)


async def test_proof_18_a_handler_that_fails_and_then_works_has_one_effect(
    rough: Outside,
) -> None:
    """The delays between tries grow; others aren't held up; in the end there is one session."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    async with _no_session_for(rough, order_id):
        await journey.pay(order_id)
        await _failed_times(rough, order_id, 3)
        other = rough.journey()
        await other.prepared(await other.paid_order())
        assert (await rough.effects(order_id)).sessions == 0
    await rough.came_to(order_id, PAID)
    failures = _failures(rough, order_id)
    assert {failure["verdict"] for failure in failures} == {"Nak"}
    delays = [failure["delay_seconds"] for failure in failures]
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[2]
    assert [failure["failures"] for failure in failures] == list(range(1, len(failures) + 1))
    assert len(rough.mails(journey)) == 1  # the other consumer never noticed


async def test_proof_18_beyond_the_limit_it_is_a_dead_letter_and_a_replay_mends_it(
    rough: Outside,
) -> None:
    """Kept whole, shown without its secret, replayed once."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    ops = rough.clients.ops["interview"]
    async with _no_session_for(rough, order_id):
        await journey.pay(order_id)
        letter = await _dead_letter(rough, order_id)
        assert letter.attempts == MAX_ATTEMPTS
        assert "refused by the test" in letter.reason
        assert letter.event_type == "payment.v1.PaymentCompleted"
        shown = await ops.GetDeadLetter(
            ops_service_pb2.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id)
        )
        assert shown.headers["ce-id"] == letter.event_id
        code = (await rough.code(order_id)).code
        assert json.loads(shown.decoded_json)["access_code"] == f"****-****-****-{code[-4:]}"
        replay = ops_service_pb2.ReplayDeadLetterRequest(
            dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-Replay"
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ops.ReplayDeadLetter(replay)
        assert reason_of(refused.value) == "REPLAY_FAILED"
        await rough.quiet()
        assert await rough.effects(order_id) == Effects(1, 1, 0, 0, 0, 0, 1, 1)
    assert not (await ops.ReplayDeadLetter(replay)).later_events_passed
    await rough.came_to(order_id, PAID)
    assert not (await ops.ReplayDeadLetter(replay)).later_events_passed
    replay.request_id = f"{letter.dead_letter_id}-again"
    with pytest.raises(grpc.aio.AioRpcError) as closed:
        await ops.ReplayDeadLetter(replay)
    assert reason_of(closed.value) == "DEAD_LETTER_CLOSED"
    listed = await ops.ListDeadLetters(ops_service_pb2.ListDeadLettersRequest())
    assert letter not in listed.dead_letters
    await rough.came_to(order_id, PAID)


async def test_proof_18_a_discarded_dead_letter_stays_without_effect(rough: Outside) -> None:
    """Also if its event is announced again."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    ops = rough.clients.ops["interview"]
    async with _no_session_for(rough, order_id):
        await journey.pay(order_id)
        letter = await _dead_letter(rough, order_id)
    discard = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-Discard"
    )
    await ops.DiscardDeadLetter(discard)
    message = await rough.stored(f"payment.v1.PaymentCompleted.{order_id}")
    headers = {**(message.headers or {}), "Nats-Msg-Id": journey.name}
    async with rough.nats("payment") as client:
        await client.request(message.subject or "", message.data or b"", headers=headers)
    await rough.quiet()
    assert (await rough.effects(order_id)).sessions == 0
    discard.request_id = f"{letter.dead_letter_id}-again"
    with pytest.raises(grpc.aio.AioRpcError) as closed:
        await ops.DiscardDeadLetter(discard)
    assert reason_of(closed.value) == "DEAD_LETTER_CLOSED"


async def test_proof_29_retries_go_on_over_a_restart_of_the_broker(rough: Outside) -> None:
    """The broker is killed between two tries; in the end there is one session."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    async with _no_session_for(rough, order_id):
        await journey.pay(order_id)
        await _failed_times(rough, order_id, 2)
        await rough.stack.kill("nats")
        await rough.stack.start("nats")
        seen = len(_failures(rough, order_id))
    await rough.came_to(order_id, PAID)
    assert len(_failures(rough, order_id)) >= seen
    assert len(rough.mails(journey)) == 1


async def test_a_message_that_is_no_event_is_a_dead_letter_at_once(rough: Outside) -> None:
    """Garbage on the stream holds up nobody and is kept for a look."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    async with rough.nats("payment") as client:
        await client.request(
            f"payment.v1.PaymentCompleted.{order_id}",
            b"\xff\xff garbage",
            headers={"Nats-Msg-Id": f"garbage-{journey.name}", "ce-id": f"garbage-{journey.name}"},
        )
    letter = await _dead_letter(rough, order_id)
    assert letter.attempts == 1
    await journey.pay(order_id)
    await rough.came_to(order_id, PAID)
    discard = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-Discard"
    )
    await rough.clients.ops["interview"].DiscardDeadLetter(discard)
