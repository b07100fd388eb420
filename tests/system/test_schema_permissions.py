"""Privileges of each service's database role outside its own schema, and on protected tables.

Interview's privileges on the shared table are in acceptance/test_25_interview_read_only.py.
"""

import asyncpg
import pytest

from tests.system.drivers.running_stack import RunningStack


async def test_payment_and_notification_see_no_column_of_other_schemas(
    shared_stack: RunningStack,
) -> None:
    """By information_schema.columns; the shared table is shared with interview alone."""
    for role, schemas in (
        ("notification_runtime", ("payment", "interview")),
        ("payment_runtime", ("interview", "notification")),
    ):
        async with shared_stack.sql(role) as connection:
            seen = await connection.fetchval(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = ANY($1)",
                schemas,
            )
            assert seen == 0


REFUSED = {
    "interview_runtime": [
        "BEGIN; LOCK TABLE payment.access_codes IN EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE payment.outbox_dropped IN SHARE ROW EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE payment.served_code IN SHARE ROW EXCLUSIVE MODE",
        "DROP INDEX payment.status_idx",
        "CREATE TABLE interview.mine (id text REFERENCES payment.access_codes)",
        "CREATE RULE r AS ON UPDATE TO payment.access_codes DO INSTEAD NOTHING",
        "SELECT * FROM payment.orders",
        "SELECT * FROM payment.payments",
        "SELECT * FROM payment.refunds",
        "SELECT * FROM payment.access_code_events",
        "SELECT * FROM payment.outbox",
        "SELECT * FROM payment.outbox_published",
        "INSERT INTO payment.outbox (id) VALUES ('evt_x')",
        "SELECT payment.rotate_outbox_published(1)",
        "SELECT * FROM notification.notifications",
        "SET SESSION AUTHORIZATION payment_runtime",
    ],
    "notification_runtime": [
        "SELECT id FROM payment.access_codes",
        "SELECT * FROM payment.orders",
        "SELECT * FROM interview.sessions",
        "SELECT * FROM interview.cached_codes",
        "SET ROLE payment_runtime",
    ],
    "payment_runtime": [
        "SELECT * FROM interview.sessions",
        "INSERT INTO interview.sessions (session_id) VALUES ('ses_x')",
        "SELECT * FROM notification.notifications",
        "UPDATE payment.access_code_events SET actor = 'nobody'",
        "DELETE FROM payment.access_code_events",
        "TRUNCATE payment.access_code_events",
        "DELETE FROM payment.access_codes",
        "DELETE FROM payment.orders",
        "DELETE FROM payment.payments",
        "UPDATE payment.outbox_dropped SET dropped_before = NULL",
        "INSERT INTO payment.outbox_dropped VALUES (NULL)",
        "DELETE FROM payment.outbox_dropped",
        "BEGIN; LOCK TABLE payment.outbox_dropped IN SHARE ROW EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE payment.served_code IN SHARE ROW EXCLUSIVE MODE",
        "INSERT INTO payment.served_code VALUES ('0001', '0000')",
        "UPDATE payment.alembic_version SET version_num = '0002'",
        "DELETE FROM payment.refunds",
        "INSERT INTO payment.products (product_id) VALUES ('free')",
        "UPDATE payment.products SET amount_minor = 0",
        "DELETE FROM payment.products",
        "DROP TABLE payment.orders",
        "ALTER TABLE payment.access_code_events OWNER TO payment_runtime",
        "SET ROLE payment_owner",
    ],
}


@pytest.mark.parametrize(
    ("role", "statement"),
    [(role, statement) for role, statements in REFUSED.items() for statement in statements],
)
async def test_the_database_refuses_the_statement(
    shared_stack: RunningStack, role: str, statement: str
) -> None:
    """For a missing privilege."""
    async with shared_stack.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
