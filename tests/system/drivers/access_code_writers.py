"""Who writes access codes, as the database sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.system.drivers.running_stack import RunningStack


class CodeWriters:
    """The roles whose statements wrote the shared table of codes."""

    def __init__(self, outside: RunningStack) -> None:
        self._outside = outside

    async def seen(self) -> set[tuple[str, str]]:
        """Role and operation of every row's change so far."""
        rows = await self._outside.rows("SELECT DISTINCT role, operation FROM code_writers")
        return {(row["role"], row["operation"]) for row in rows}


@asynccontextmanager
async def watched_codes(outside: RunningStack) -> AsyncIterator[CodeWriters]:
    """Notes, during the block, by whom the shared table is written."""
    async with outside.sql() as superuser:
        await superuser.execute(
            "CREATE TABLE code_writers (role text, operation text);"
            "CREATE FUNCTION note_writer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$"
            " BEGIN INSERT INTO public.code_writers VALUES (session_user, TG_OP); RETURN NULL;"
            " END $$;"
            "CREATE TRIGGER note_writer AFTER INSERT OR UPDATE OR DELETE"
            " ON payment.access_codes FOR EACH ROW EXECUTE FUNCTION note_writer()"
        )
        try:
            yield CodeWriters(outside)
        finally:
            await superuser.execute(
                "DROP TRIGGER note_writer ON payment.access_codes;"
                "DROP FUNCTION note_writer(); DROP TABLE code_writers"
            )
