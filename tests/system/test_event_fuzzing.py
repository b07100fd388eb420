"""Odd messages on a stream end as dead letters, and the consumer goes on."""

import random

import pytest
from ulid import ULID

from devstack.polling import wait_until
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, events_pb2
from tests.system.drivers.running_stack import RunningStack

MESSAGES = 300


def genuine(order_id: str) -> bytes:
    """A PaymentCompleted without its times: it parses, and is against its contract."""
    return events_pb2.PaymentCompleted(
        order_id=order_id,
        access_code="0000-0000-0000-0000",
        access_code_id=f"acc_{ULID()}",
        version=1,
        product_id="backend-60",
        customer_id="nobody",
        recipient=access_code_pb2.Recipient(email="nobody@example.com"),
    ).SerializeToString()


def broken(chance: random.Random, order_id: str) -> bytes:
    """Random bytes, a truncated event, or one with bytes changed: none keeps its contract."""
    body = bytearray(genuine(order_id))
    match chance.randrange(4):
        case 0:
            return chance.randbytes(chance.randrange(300))
        case 1:
            return bytes(body[: chance.randrange(len(body))])
        case 2:
            for _ in range(3):
                body[chance.randrange(len(body))] = chance.randrange(256)
            return bytes(body)
        case _:
            return b""


@pytest.mark.timeout(180)
async def test_broken_events_end_as_dead_letters_and_the_next_order_is_served(
    shared_stack: RunningStack,
) -> None:
    chance = random.Random(20261122)  # noqa: S311  repeatable
    sent = set()
    async with shared_stack.nats("payment") as client:
        jetstream = client.jetstream()
        for _ in range(MESSAGES):
            order_id, event_id = f"ord_{ULID()}", f"evt_{ULID()}"
            sent.add(event_id)
            await jetstream.publish(
                f"payment.v1.PaymentCompleted.{order_id}",
                broken(chance, order_id),
                headers={"Nats-Msg-Id": event_id, "ce-id": event_id},
            )

    async def all_dead() -> bool:
        rows = await shared_stack.rows("SELECT event_id FROM interview.dead_letters")
        return sent <= {row["event_id"] for row in rows}

    await wait_until(all_dead, "every broken event is a dead letter", 60)
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    assert (await journey.prepared(order_id)).order_id == order_id
    await shared_stack.wait_until_idle()
    for letter in (
        await shared_stack.clients.ops["interview"].ListDeadLetters(
            ops_service_pb2.ListDeadLettersRequest(page_size=500)
        )
    ).dead_letters:
        if letter.event_id in sent:
            await shared_stack.clients.ops["interview"].DiscardDeadLetter(
                ops_service_pb2.DiscardDeadLetterRequest(
                    dead_letter_id=letter.dead_letter_id,
                    request_id=f"{letter.dead_letter_id}-Discard",
                )
            )
