"""Trouble in a handler, made by the database; and what the bus says and keeps of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from devstack.polling import wait_until
from ops.v1 import ops_service_pb2
from tests.system.drivers.running_stack import RunningStack


@asynccontextmanager
async def no_session_for(outside: RunningStack, order_id: str) -> AsyncIterator[None]:
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


def failures(outside: RunningStack, order_id: str) -> list[dict[str, Any]]:
    """What interview logged about failed tries of an order's event."""
    return outside.log_lines("interview", event="event not handled", key=order_id)


async def failed_times(outside: RunningStack, order_id: str, times: int) -> None:
    """Waits until an order's event has failed so often."""

    async def look() -> bool:
        return len(failures(outside, order_id)) >= times

    await wait_until(look, f"{times} failures of {order_id}", 60)


async def dead_letter(outside: RunningStack, order_id: str) -> ops_service_pb2.DeadLetter:
    """Waits until interview has given an order's event up."""

    async def look() -> ops_service_pb2.DeadLetter | None:
        listed = await outside.clients.ops["interview"].ListDeadLetters(
            ops_service_pb2.ListDeadLettersRequest(page_size=500)
        )
        return next((one for one in listed.dead_letters if one.key == order_id), None)

    return await wait_until(look, f"a dead letter of {order_id}", 60)


def replay_of(
    letter: ops_service_pb2.DeadLetter, attempt: str
) -> ops_service_pb2.ReplayDeadLetterRequest:
    """Asks to handle a dead letter's event again."""
    return ops_service_pb2.ReplayDeadLetterRequest(
        dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-{attempt}"
    )
