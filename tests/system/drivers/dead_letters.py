"""Dead letters of a service: waiting for one, replaying and discarding it."""

import secrets

from devstack.polling import wait_until
from ops.v1 import ops_service_pb2
from tests.system.drivers.running_stack import RunningStack


async def list_dead_letters(
    stack: RunningStack, service: str = "interview"
) -> list[ops_service_pb2.DeadLetter]:
    """The open dead letters of a service."""
    request = ops_service_pb2.ListDeadLettersRequest(page_size=500)
    return list((await stack.clients.ops[service].ListDeadLetters(request)).dead_letters)


async def wait_for_dead_letter(
    stack: RunningStack, key: str, service: str = "interview"
) -> ops_service_pb2.DeadLetter:
    """Waits for a dead letter whose event has this id, or this key: an order id."""

    async def find() -> ops_service_pb2.DeadLetter | None:
        for dead_letter in await list_dead_letters(stack, service):
            if key in {dead_letter.key, dead_letter.event_id}:
                return dead_letter
        return None

    return await wait_until(find, f"a dead letter of {key}", 90)


async def replay_dead_letter(
    stack: RunningStack,
    dead_letter: ops_service_pb2.DeadLetter,
    service: str = "interview",
    request_id: str = "",
) -> ops_service_pb2.ReplayDeadLetterResponse:
    """Has a dead letter's event handled again."""
    request = ops_service_pb2.ReplayDeadLetterRequest(
        dead_letter_id=dead_letter.dead_letter_id, request_id=request_id or secrets.token_hex(8)
    )
    return await stack.clients.ops[service].ReplayDeadLetter(request)


async def discard_dead_letter(
    stack: RunningStack, dead_letter: ops_service_pb2.DeadLetter, service: str = "interview"
) -> None:
    """Closes a dead letter without handling its event."""
    request = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=dead_letter.dead_letter_id, request_id=secrets.token_hex(8)
    )
    await stack.clients.ops[service].DiscardDeadLetter(request)
