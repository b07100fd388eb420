"""interview READ ONLY: the database refuses it INSERT, UPDATE, DELETE and other columns' SELECT."""

import asyncpg
import pytest

from tests.system.drivers.running_stack import RunningStack

_FOUR = {"id", "code", "status", "expire_at"}
_ROLES = ("interview_runtime", "interview_owner")
_REFUSED = (
    "INSERT INTO payment.access_codes (id, code, status) VALUES ('acc_x', 'x', 'ACTIVE')",
    "UPDATE payment.access_codes SET id = id WHERE false",
    "UPDATE payment.access_codes SET code = code WHERE false",
    "UPDATE payment.access_codes SET status = 'ACTIVE' WHERE false",
    "UPDATE payment.access_codes SET expire_at = now() WHERE false",
    "DELETE FROM payment.access_codes WHERE false",
    "TRUNCATE payment.access_codes",
    "COPY payment.access_codes (id) FROM STDIN",
    "SELECT * FROM payment.access_codes",
    "SELECT id FROM payment.access_codes WHERE order_id = 'ord_x'",
    "SELECT id FROM payment.access_codes FOR UPDATE",
    "SELECT id FROM payment.access_codes FOR KEY SHARE",
    "GRANT UPDATE ON payment.access_codes TO interview_runtime",
    "ALTER TABLE payment.access_codes ADD COLUMN x text",
    "DROP TABLE payment.access_codes",
    "SET ROLE payment_runtime",
    "SET ROLE payment_owner",
)


async def _is_refused(outside: RunningStack, role: str, statement: str) -> None:
    async with outside.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.parametrize("role", _ROLES)
@pytest.mark.parametrize("statement", _REFUSED)
async def test_proof_25_writing_is_refused(
    shared_stack: RunningStack, role: str, statement: str
) -> None:
    """For want of the privilege, also where no row would be hit; to both of interview's roles."""
    await _is_refused(shared_stack, role, statement)


async def test_proof_25_every_other_column_is_refused(shared_stack: RunningStack) -> None:
    """Whatever columns the table has beside the four, system columns included."""
    rows = await shared_stack.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'payment.access_codes'::regclass"
        " AND NOT attisdropped AND attname <> 'tableoid'"
    )
    others = {row["attname"] for row in rows} - _FOUR
    assert {"order_id", "version", "xmin"} <= others
    for role in _ROLES:
        for column in others:
            await _is_refused(shared_stack, role, f"SELECT {column} FROM payment.access_codes")  # noqa: S608


async def test_proof_25_reading_the_four_is_allowed(shared_stack: RunningStack) -> None:
    """So that what is refused above is refused for the right reason."""
    _, _, code = await shared_stack.prepared()
    async with shared_stack.sql("interview_runtime") as connection:
        select = f"SELECT {', '.join(sorted(_FOUR))} FROM payment.access_codes WHERE code = $1"  # noqa: S608
        assert await connection.fetchrow(select, code) is not None
