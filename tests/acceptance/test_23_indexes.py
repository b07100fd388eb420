"""Indexes code_idx, status_idx: they exist by these names, and code_idx is unique.

Among ten thousand analysed rows, EXPLAIN uses them for a code and for a rare status.
"""

import asyncpg
import pytest

from tests.system.drivers.running_stack import RunningStack

_ROWS = 10_000


async def test_the_indexes_exist_by_name(shared_stack: RunningStack) -> None:
    """code_idx on code, unique; status_idx on status."""
    rows = await shared_stack.fetch_rows(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = 'payment' AND tablename = 'access_codes'"
    )
    indexes = {row["indexname"]: row["indexdef"] for row in rows}
    assert indexes["code_idx"].startswith("CREATE UNIQUE INDEX")
    assert indexes["code_idx"].endswith("(code)")
    assert indexes["status_idx"].endswith("(status)")


async def test_a_code_exists_once(shared_stack: RunningStack) -> None:
    """code_idx refuses a second row with the same code."""
    _, order_id, code = await shared_stack.prepare_session()
    async with shared_stack.sql("payment_runtime") as connection:
        with pytest.raises(asyncpg.UniqueViolationError, match="code_idx"):
            await connection.execute(
                "INSERT INTO payment.access_codes"
                " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
                " VALUES ('acc_second', $1, 'ACTIVE', now(), $2, 'backend-60', 9, now())",
                code,
                order_id,
            )


async def test_queries_use_the_indexes(shared_stack: RunningStack) -> None:
    """10^4 rows, of which one in a thousand is SUSPENDED; rolled back afterwards."""
    _, order_id, _ = await shared_stack.prepare_session()
    async with shared_stack.sql("payment_owner") as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(
                "INSERT INTO payment.access_codes"
                " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
                " SELECT 'acc_' || n, 'code-' || n, CASE WHEN n % 1000 = 0 THEN 'SUSPENDED'"
                "   ELSE 'ACTIVE' END, now(), $1, 'backend-60', n, now()"
                " FROM generate_series(1, $2::bigint) AS n",
                order_id,
                _ROWS,
            )
            await connection.execute("ANALYZE payment.access_codes")
            for condition, index in (
                ("code = 'code-4711'", "code_idx"),
                ("code = ANY(ARRAY['code-1', 'code-2', 'code-3'])", "code_idx"),
                ("status = 'SUSPENDED'", "status_idx"),
            ):
                plan = await connection.fetch(
                    f"EXPLAIN SELECT * FROM payment.access_codes WHERE {condition}"  # noqa: S608
                )
                assert f" {index} " in "\n".join(row[0] for row in plan)
        finally:
            await transaction.rollback()
