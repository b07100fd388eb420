"""Which database roles write access codes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.system.drivers.running_stack import RunningStack


class AccessCodeWrites:
    """The writes to payment.access_codes since the recording began."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack

    async def roles_and_operations(self, order_id: str) -> set[tuple[str, str]]:
        """Role and operation of each write of an order, such as ("payment_runtime", "INSERT")."""
        rows = await self._stack.fetch_rows(
            "SELECT DISTINCT role, operation FROM access_code_writes WHERE order_id = $1", order_id
        )
        return {(row["role"], row["operation"]) for row in rows}


@asynccontextmanager
async def recorded_access_code_writes(stack: RunningStack) -> AsyncIterator[AccessCodeWrites]:
    """Records the writes to the shared table during the block, by a trigger."""
    async with stack.sql() as superuser:
        await superuser.execute(
            "CREATE TABLE access_code_writes (order_id text, role text, operation text);"
            "CREATE FUNCTION record_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$"
            " BEGIN INSERT INTO public.access_code_writes"
            " VALUES (coalesce(NEW.order_id, OLD.order_id), session_user, TG_OP);"
            " RETURN NULL; END $$;"
            "CREATE TRIGGER record_write AFTER INSERT OR UPDATE OR DELETE"
            " ON payment.access_codes FOR EACH ROW EXECUTE FUNCTION record_write()"
        )
        try:
            yield AccessCodeWrites(stack)
        finally:
            await superuser.execute(
                "DROP TRIGGER record_write ON payment.access_codes;"
                "DROP FUNCTION record_write(); DROP TABLE access_code_writes"
            )
