"""payment READ WRITE: its runtime role reads the shared table, and its writes succeed."""

from tests.system.drivers.running_stack import RunningStack


async def test_proof_24_payment_reads_and_writes(shared_stack: RunningStack) -> None:
    """A row is inserted and another updated; both are read as written. Rolled back afterwards."""
    _, order_id, code = await shared_stack.prepared()
    async with shared_stack.sql("payment_runtime") as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            added = await connection.execute(
                "INSERT INTO payment.access_codes"
                " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
                " VALUES ('acc_new', 'new', 'ACTIVE', now(), $1, 'backend-60', 9, now())",
                order_id,
            )
            changed = await connection.execute(
                "UPDATE payment.access_codes SET status = 'EXPIRED', version = version + 1"
                " WHERE code = $1",
                code,
            )
            assert (added, changed) == ("INSERT 0 1", "UPDATE 1")
            rows = await connection.fetch(
                "SELECT code, status FROM payment.access_codes WHERE order_id = $1", order_id
            )
            assert {tuple(row) for row in rows} == {("new", "ACTIVE"), (code, "EXPIRED")}
        finally:
            await transaction.rollback()


async def test_proof_24_the_running_service_writes(shared_stack: RunningStack) -> None:
    """With this role and no other: the code of a journey is issued and redeemed."""
    journey, order_id, code = await shared_stack.prepared()
    await journey.start(code)
    record = await journey.redeemed(order_id)
    status = "SELECT status FROM payment.access_codes WHERE id = $1"
    assert await shared_stack.value(status, record.id) == "REDEEMED"
    users = await shared_stack.rows(
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'payment%'"
    )
    assert {row["usename"] for row in users} == {"payment_runtime"}
