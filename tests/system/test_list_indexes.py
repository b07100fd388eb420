"""List calls use an index, however many rows other customers have."""

import pytest

from tests.system.drivers.running_stack import RunningStack

_ROWS = 10_000

# A column that a list call filters by, followed by the one that it sorts by.
_INDEXES = [
    ("payment", "orders", "customer_id, order_id"),
    ("payment", "payments", "order_id, payment_id"),
    ("payment", "refunds", "order_id, refund_id"),
    ("payment", "access_codes", "order_id"),
    ("payment", "access_code_events", "access_code_id, version"),
    ("interview", "sessions", "customer_id, session_id"),
    ("interview", "sessions", "order_id"),
    ("interview", "qa_records", "session_id, number"),
    ("notification", "notifications", "customer_id, notification_id"),
    ("notification", "notifications", "order_id, notification_id"),
]


@pytest.mark.parametrize(("schema", "table", "columns"), _INDEXES)
async def test_a_list_call_has_its_index(
    shared_stack: RunningStack, schema: str, table: str, columns: str
) -> None:
    rows = await shared_stack.fetch_rows(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = $1 AND tablename = $2", schema, table
    )
    assert any(row["indexdef"].endswith(f"({columns})") for row in rows)


async def test_listing_a_customers_mails_uses_the_index(shared_stack: RunningStack) -> None:
    """Among 10^4 mails, of which ten are the customer's; rolled back afterwards."""
    async with shared_stack.sql("notification_owner") as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(
                "INSERT INTO notification.notifications (notification_id, order_id, customer_id,"
                " event_id, event_type, email, display_name, language_code, content, message_id,"
                " created_at, status, attempts, last_error)"
                " SELECT 'ntf_' || n, 'ord_' || n, 'cus_' || n % 1000, 'evt_' || n, '', '', '',"
                " 'en', '{}', '', now(), 'SENT', 1, '' FROM generate_series(1, $1::int) AS n",
                _ROWS,
            )
            await connection.execute("ANALYZE notification.notifications")
            plan = await connection.fetch(
                "EXPLAIN SELECT * FROM notification.notifications WHERE customer_id = 'cus_7'"
                " ORDER BY notification_id DESC LIMIT 51"
            )
            assert " notifications_customer_idx " in "\n".join(row[0] for row in plan)
        finally:
            await transaction.rollback()
