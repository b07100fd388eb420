"""Event handlers that fail because the database rejects an insert."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.system.drivers.running_stack import RunningStack

FAULT = "insert rejected by the test"


@asynccontextmanager
async def failing_inserts(
    stack: RunningStack, table: str, order_id: str, error: str = f"'{FAULT}'"
) -> AsyncIterator[None]:
    """Makes the database reject every insert of an order's row into a table during the block.

    `error` is what follows RAISE EXCEPTION; it may quote columns of the row as NEW.column.
    """
    function = f"{table.partition('.')[0]}.reject_insert"
    async with stack.sql() as superuser:
        await superuser.execute(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN RAISE EXCEPTION {error}; END $$;"
            f"CREATE TRIGGER reject_insert BEFORE INSERT ON {table} FOR EACH ROW"
            f" WHEN (NEW.order_id = '{order_id}') EXECUTE FUNCTION {function}()"
        )
    try:
        yield
    finally:
        async with stack.sql() as superuser:
            await superuser.execute(
                f"DROP TRIGGER reject_insert ON {table}; DROP FUNCTION {function}()"
            )


def failing_session_insert(stack: RunningStack, order_id: str) -> Any:
    """Makes interview fail to handle an order's PaymentCompleted during the block."""
    return failing_inserts(stack, "interview.sessions", order_id)


def handler_failures(stack: RunningStack, order_id: str) -> list[dict[str, Any]]:
    """Interview's log entries about failed attempts to handle an event of an order."""
    return stack.log_entries("interview", event="event not handled", key=order_id)


async def wait_for_handler_failures(stack: RunningStack, order_id: str, count: int) -> None:
    """Waits until interview has failed so often to handle an event of an order."""
    await stack.wait_for_log_entries("interview", count, event="event not handled", key=order_id)
