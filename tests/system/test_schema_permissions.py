"""The one shared table, who may do what with it, and who calls whom."""

import asyncpg
import pytest

from tests.system.drivers.running_stack import PAID, RunningStack


async def test_the_other_roles_see_nothing_of_it(shared_stack: RunningStack) -> None:
    """Notification reads no code in the shared table, and payment nothing of its neighbours."""
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
        "INSERT INTO payment.access_codes (id, code, status) VALUES ('acc_x', 'x', 'ACTIVE')",
        "UPDATE payment.access_codes SET status = 'ACTIVE'",
        "UPDATE payment.access_codes SET expire_at = now() WHERE false",
        "DELETE FROM payment.access_codes",
        "TRUNCATE payment.access_codes",
        "SELECT * FROM payment.access_codes",
        "SELECT order_id FROM payment.access_codes",
        "SELECT product_id FROM payment.access_codes",
        "SELECT version FROM payment.access_codes",
        "SELECT issued_at FROM payment.access_codes",
        "SELECT redeemed_session_id FROM payment.access_codes",
        "SELECT redeemed_at FROM payment.access_codes",
        "SELECT holds FROM payment.access_codes",
        "SELECT replaced_by FROM payment.access_codes",
        "SELECT xmin FROM payment.access_codes",
        "SELECT id FROM payment.access_codes WHERE order_id = 'ord_x'",
        "SELECT id FROM payment.access_codes FOR UPDATE",
        "SELECT id FROM payment.access_codes FOR KEY SHARE",
        "BEGIN; LOCK TABLE payment.access_codes IN EXCLUSIVE MODE",
        "COPY payment.access_codes FROM STDIN",
        "ALTER TABLE payment.access_codes ADD COLUMN x text",
        "DROP TABLE payment.access_codes",
        "DROP INDEX payment.status_idx",
        "GRANT SELECT ON payment.access_codes TO interview_runtime",
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
        "SET ROLE payment_runtime",
        "SET ROLE payment_owner",
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
async def test_the_database_refuses(shared_stack: RunningStack, role: str, statement: str) -> None:
    """Not the code, the database: for want of the privilege."""
    async with shared_stack.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_what_interview_may_do_works(shared_stack: RunningStack) -> None:
    """SELECT of the four columns, counting, and looking for existence."""
    async with shared_stack.sql("interview_runtime") as connection:
        await connection.fetch("SELECT id, code, status, expire_at FROM payment.access_codes")
        await connection.fetch("SELECT count(*) FROM payment.access_codes")
        await connection.fetch(
            "SELECT 1 WHERE EXISTS (SELECT FROM payment.access_codes WHERE status = 'ACTIVE')"
        )


async def test_paying_needs_neither_interview_nor_notification(
    disruptable_stack: RunningStack,
) -> None:
    """Both are gone, and the payment succeeds at once; what follows from it comes later."""
    await disruptable_stack.stack.kill("interview")
    await disruptable_stack.stack.kill("notification")
    journey = disruptable_stack.journey()
    order_id = await journey.paid_order()
    await disruptable_stack.stack.start("interview")
    await disruptable_stack.stack.start("notification")
    await disruptable_stack.wait_for_effects(order_id, PAID)
