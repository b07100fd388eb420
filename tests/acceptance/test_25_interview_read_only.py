"""interview READ ONLY: the database refuses it INSERT, UPDATE, DELETE and other columns' SELECT."""

import asyncpg
import pytest

from tests.system.drivers.running_stack import RunningStack

_COLUMNS = {"id", "code", "status", "expire_at"}
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


async def _expect_refusal(stack: RunningStack, role: str, statement: str) -> None:
    async with stack.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.parametrize("role", _ROLES)
@pytest.mark.parametrize("statement", _REFUSED)
async def test_writing_expect_refusal(
    shared_stack: RunningStack, role: str, statement: str
) -> None:
    """To both roles of interview, for a missing privilege, even where no row would change."""
    await _expect_refusal(shared_stack, role, statement)


async def test_reading_any_other_column_expect_refusal(shared_stack: RunningStack) -> None:
    """All columns of the table but the four, system columns included."""
    rows = await shared_stack.fetch_rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'payment.access_codes'::regclass"
        " AND NOT attisdropped AND attname <> 'tableoid'"
    )
    others = {row["attname"] for row in rows} - _COLUMNS
    assert {"order_id", "version", "xmin"} <= others
    for role in _ROLES:
        for column in others:
            await _expect_refusal(shared_stack, role, f"SELECT {column} FROM payment.access_codes")  # noqa: S608


async def test_reading_the_four_columns_is_allowed(shared_stack: RunningStack) -> None:
    """Selecting and counting them works: the refusals above have the right reason."""
    _, _, code = await shared_stack.prepare_session()
    async with shared_stack.sql("interview_runtime") as connection:
        select = f"SELECT {', '.join(sorted(_COLUMNS))} FROM payment.access_codes WHERE code = $1"  # noqa: S608
        assert await connection.fetchrow(select, code) is not None
        await connection.fetch("SELECT count(*) FROM payment.access_codes")
        await connection.fetch(
            "SELECT 1 WHERE EXISTS (SELECT FROM payment.access_codes WHERE status = 'ACTIVE')"
        )
