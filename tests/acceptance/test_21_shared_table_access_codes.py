"""Shared table access_codes: it exists, payment writes it, and interview reads it."""

from tests.system.drivers.running_stack import RunningStack


async def test_interview_reads_the_codes_in_the_shared_table(shared_stack: RunningStack) -> None:
    """Interview's own role reads an issued code as payment's role wrote it."""
    _, order_id, code = await shared_stack.prepare_session()
    exists = "SELECT to_regclass('payment.access_codes') IS NOT NULL"
    assert await shared_stack.fetch_value(exists)
    columns = "id, code, status, expire_at"
    async with shared_stack.sql("interview_runtime") as connection:
        read = await connection.fetchrow(
            f"SELECT {columns} FROM payment.access_codes WHERE code = $1",  # noqa: S608
            code,
        )
    async with shared_stack.sql("payment_runtime") as connection:
        written = await connection.fetchrow(
            f"SELECT {columns} FROM payment.access_codes WHERE order_id = $1",  # noqa: S608
            order_id,
        )
    assert read is not None
    assert read == written
    assert (read["code"], read["status"]) == (code, "ACTIVE")
