"""Columns id, code, status, expire_at: interview's role sees exactly these of the shared table."""

from tests.system.drivers.running_stack import RunningStack

_COLUMNS = (
    "SELECT table_schema || '.' || table_name || '.' || column_name"
    " FROM information_schema.columns WHERE table_schema IN ('payment', 'notification')"
)


async def test_proof_22_interview_sees_exactly_four_columns(shared_stack: RunningStack) -> None:
    """As information_schema.columns tells its role; and nothing else of its neighbours."""
    async with shared_stack.sql("interview_runtime") as connection:
        seen = {row[0] for row in await connection.fetch(_COLUMNS)}
    table = "payment.access_codes"
    assert seen == {f"{table}.{column}" for column in ("id", "code", "status", "expire_at")}


async def test_proof_22_there_is_more_to_see_for_payment(shared_stack: RunningStack) -> None:
    """The table has further columns: what hides them is interview's lack of rights."""
    async with shared_stack.sql("payment_runtime") as connection:
        seen = {row[0] for row in await connection.fetch(_COLUMNS)}
    assert {f"payment.access_codes.{name}" for name in ("order_id", "version")} <= seen
