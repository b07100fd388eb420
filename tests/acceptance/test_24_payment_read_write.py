"""payment READ WRITE: its runtime role reads the shared table, and its writes succeed."""

from tests.system.drivers.running_stack import RunningStack


async def test_payments_role_reads_and_writes_the_table(shared_stack: RunningStack) -> None:
    """It inserts a row and updates another, and reads both as written; rolled back afterwards."""
    _, order_id, code = await shared_stack.prepare_session()
    async with shared_stack.sql("payment_runtime") as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            inserted = await connection.execute(
                "INSERT INTO payment.access_codes"
                " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
                " VALUES ('acc_new', 'new', 'ACTIVE', now(), $1, 'backend-60', 9, now())",
                order_id,
            )
            updated = await connection.execute(
                "UPDATE payment.access_codes SET status = 'EXPIRED', version = version + 1"
                " WHERE code = $1",
                code,
            )
            assert (inserted, updated) == ("INSERT 0 1", "UPDATE 1")
            rows = await connection.fetch(
                "SELECT code, status FROM payment.access_codes WHERE order_id = $1", order_id
            )
            assert {tuple(row) for row in rows} == {("new", "ACTIVE"), (code, "EXPIRED")}
        finally:
            await transaction.rollback()


async def test_the_running_service_writes_as_this_role(shared_stack: RunningStack) -> None:
    """It issues and redeems a code, and connects as no other role."""
    journey, order_id, code = await shared_stack.prepare_session()
    await journey.start(code)
    record = await journey.wait_for_redemption(order_id)
    status = "SELECT status FROM payment.access_codes WHERE id = $1"
    assert await shared_stack.fetch_value(status, record.id) == "REDEEMED"
    users = await shared_stack.fetch_rows(
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'payment%'"
    )
    assert {row["usename"] for row in users} == {"payment_runtime"}
