"""Malformed messages on a stream become dead letters, and the consumer goes on."""

import random

import pytest
from ulid import ULID

from devstack.polling import wait_until
from payment.v1 import access_code_pb2, events_pb2
from tests.system.drivers.dead_letters import discard_dead_letter, list_dead_letters
from tests.system.drivers.running_stack import RunningStack

MESSAGES = 300


def event_without_times(order_id: str) -> bytes:
    """A PaymentCompleted that can be parsed and violates its contract."""
    return events_pb2.PaymentCompleted(
        order_id=order_id,
        access_code="0000-0000-0000-0000",
        access_code_id=f"acc_{ULID()}",
        version=1,
        product_id="backend-60",
        customer_id="nobody",
        recipient=access_code_pb2.Recipient(email="nobody@example.com"),
    ).SerializeToString()


def malformed(generator: random.Random, order_id: str) -> bytes:
    """Random bytes, a truncated event, one with changed bytes, or none."""
    body = bytearray(event_without_times(order_id))
    match generator.randrange(4):
        case 0:
            return generator.randbytes(generator.randrange(300))
        case 1:
            return bytes(body[: generator.randrange(len(body))])
        case 2:
            for _ in range(3):
                body[generator.randrange(len(body))] = generator.randrange(256)
            return bytes(body)
        case _:
            return b""


@pytest.mark.timeout(180)
async def test_malformed_events_become_dead_letters_and_the_next_order_is_prepared(
    shared_stack: RunningStack,
) -> None:
    generator = random.Random(20261122)  # noqa: S311  repeatable
    event_ids = set()
    async with shared_stack.nats("payment") as client:
        for _ in range(MESSAGES):
            order_id, event_id = f"ord_{ULID()}", f"evt_{ULID()}"
            event_ids.add(event_id)
            await client.jetstream().publish(
                f"payment.v1.PaymentCompleted.{order_id}",
                malformed(generator, order_id),
                headers={"Nats-Msg-Id": event_id, "ce-id": event_id},
            )

    async def all_are_dead_letters() -> bool:
        rows = await shared_stack.fetch_rows("SELECT event_id FROM interview.dead_letters")
        return event_ids <= {row["event_id"] for row in rows}

    await wait_until(all_are_dead_letters, "every malformed event is a dead letter", 60)
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    assert (await journey.wait_for_session(order_id)).order_id == order_id
    await shared_stack.wait_until_idle()
    for dead_letter in await list_dead_letters(shared_stack):
        if dead_letter.event_id in event_ids:
            await discard_dead_letter(shared_stack, dead_letter)
