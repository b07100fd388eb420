"""Columns id, code, status, expire_at: interview's role sees exactly these of the shared table."""

from tests.system.drivers.running_stack import RunningStack

_COLUMNS = (
    "SELECT table_schema || '.' || table_name || '.' || column_name"
    " FROM information_schema.columns WHERE table_schema IN ('payment', 'notification')"
)


async def test_interview_sees_exactly_four_columns(shared_stack: RunningStack) -> None:
    """By information_schema.columns, and no other column of payment or notification."""
    async with shared_stack.sql("interview_runtime") as connection:
        columns = {row[0] for row in await connection.fetch(_COLUMNS)}
    table = "payment.access_codes"
    assert columns == {f"{table}.{column}" for column in ("id", "code", "status", "expire_at")}


async def test_payment_sees_further_columns(shared_stack: RunningStack) -> None:
    """The table has more than four: interview's missing privileges hide them."""
    async with shared_stack.sql("payment_runtime") as connection:
        columns = {row[0] for row in await connection.fetch(_COLUMNS)}
    assert {f"payment.access_codes.{name}" for name in ("order_id", "version")} <= columns
