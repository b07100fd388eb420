"""PROOFS 21-26: the one shared table, who may do what with it, and who calls whom."""

import ast
from pathlib import Path

import asyncpg
import pytest

import payment_svc
from devstack.programs import PROJECT
from tests.system.outside import PAID, Outside

_ROWS = 10_000


async def test_proof_21_the_shared_table_is_there_and_interview_reads_it(calm: Outside) -> None:
    """An issued code stands in payment.access_codes, and interview's role finds it."""
    _, order_id, code = await calm.prepared()
    async with calm.sql("interview_runtime") as connection:
        row = await connection.fetchrow(
            "SELECT id, code, status, expire_at FROM payment.access_codes WHERE code = $1", code
        )
    assert row is not None
    record = await calm.code(order_id)
    assert (row["id"], row["status"]) == (record.id, "ACTIVE")


async def test_proof_22_interview_sees_exactly_four_columns(calm: Outside) -> None:
    """As information_schema.columns tells its role."""
    async with calm.sql("interview_runtime") as connection:
        columns = await connection.fetch(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = 'payment' AND table_name = 'access_codes'"
        )
        elsewhere = await connection.fetch(
            "SELECT DISTINCT table_schema, table_name FROM information_schema.columns"
            " WHERE table_schema IN ('payment', 'notification')"
        )
    assert {row["column_name"] for row in columns} == {"id", "code", "status", "expire_at"}
    assert {tuple(row) for row in elsewhere} == {("payment", "access_codes")}


async def test_proof_22_the_other_roles_see_nothing_of_it(calm: Outside) -> None:
    """Notification reads no code in the shared table, and payment nothing of its neighbours."""
    for role, schemas in (
        ("notification_runtime", ("payment", "interview")),
        ("payment_runtime", ("interview", "notification")),
    ):
        async with calm.sql(role) as connection:
            seen = await connection.fetchval(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = ANY($1)",
                schemas,
            )
            assert seen == 0


async def test_proof_23_the_indexes_are_there_by_name(calm: Outside) -> None:
    """code_idx on code is unique; status_idx is on status."""
    rows = await calm.rows(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = 'payment' AND tablename = 'access_codes'"
    )
    indexes = {row["indexname"]: row["indexdef"] for row in rows}
    assert indexes["code_idx"].startswith("CREATE UNIQUE INDEX")
    assert indexes["code_idx"].endswith("(code)")
    assert indexes["status_idx"].endswith("(status)")


async def test_proof_23_queries_use_the_indexes(calm: Outside) -> None:
    """10^4 rows, analysed: a code is found by code_idx, a rare status by status_idx."""
    _, order_id, _ = await calm.prepared()
    async with calm.sql("payment_owner") as connection:
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
                assert index in "\n".join(row[0] for row in plan)
        finally:
            await transaction.rollback()


async def test_proof_23_a_code_exists_once(calm: Outside) -> None:
    """The database refuses a second row with a code."""
    _, order_id, code = await calm.prepared()
    async with calm.sql("payment_runtime") as connection:
        with pytest.raises(asyncpg.UniqueViolationError, match="code_idx"):
            await connection.execute(
                "INSERT INTO payment.access_codes"
                " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
                " VALUES ('acc_twin', $1, 'ACTIVE', now(), $2, 'backend-60', 9, now())",
                code,
                order_id,
            )


async def test_proof_24_payment_reads_and_writes(calm: Outside) -> None:
    """Its runtime role inserts, updates and selects codes."""
    _, order_id, code = await calm.prepared()
    async with calm.sql("payment_runtime") as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(
                "INSERT INTO payment.access_codes"
                " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
                " VALUES ('acc_new', 'new', 'ACTIVE', now(), $1, 'backend-60', 9, now())",
                order_id,
            )
            changed = await connection.execute(
                "UPDATE payment.access_codes SET status = 'EXPIRED' WHERE code = $1", code
            )
            assert changed == "UPDATE 1"
            read = "SELECT status FROM payment.access_codes WHERE code = $1"
            assert await connection.fetchval(read, code) == "EXPIRED"
        finally:
            await transaction.rollback()


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
        "SELECT * FROM interview.code_entries",
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
        "DROP TABLE payment.orders",
        "ALTER TABLE payment.access_code_events OWNER TO payment_runtime",
        "SET ROLE payment_owner",
    ],
}


@pytest.mark.parametrize(
    ("role", "statement"),
    [(role, statement) for role, statements in REFUSED.items() for statement in statements],
)
async def test_proof_25_the_database_refuses(calm: Outside, role: str, statement: str) -> None:
    """Not the code, the database: for want of the privilege."""
    async with calm.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_proof_25_what_interview_may_do_works(calm: Outside) -> None:
    """SELECT of the four columns, counting, and looking for existence."""
    async with calm.sql("interview_runtime") as connection:
        await connection.fetch("SELECT id, code, status, expire_at FROM payment.access_codes")
        await connection.fetch("SELECT count(*) FROM payment.access_codes")
        await connection.fetch(
            "SELECT 1 WHERE EXISTS (SELECT FROM payment.access_codes WHERE status = 'ACTIVE')"
        )


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_proof_26_payment_imports_no_client_of_the_others() -> None:
    """Of its neighbours it knows interview's events only."""
    (home,) = payment_svc.__path__
    sources = list(Path(home).rglob("*.py"))
    assert sources
    foreign = set()
    for source in sources:
        for name in _imports(source):
            if name.split(".")[0] in {"interview", "notification", "interview_svc"}:
                foreign.add(name)
            assert not name.startswith("notification_svc")
    assert foreign <= {"interview.v1", "interview.v1.events_pb2"}


async def test_proof_26_paying_needs_neither_interview_nor_notification(rough: Outside) -> None:
    """Both are gone, and the payment succeeds at once; what follows from it comes later."""
    await rough.stack.kill("interview")
    await rough.stack.kill("notification")
    journey = rough.journey()
    order_id = await journey.paid_order()
    await rough.stack.start("interview")
    await rough.stack.start("notification")
    await rough.came_to(order_id, PAID)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc, which Linux has")
async def test_proof_26_payment_has_no_connection_to_the_others(calm: Outside) -> None:
    """After whole journeys, the process holds no socket to their ports."""
    journey, _, code = await calm.prepared()
    await journey.start(code)
    ports = _remote_ports(calm.stack.pid("payment"))
    assert calm.stack.port("postgres") in ports  # the look works
    assert calm.stack.port("nats") in ports
    assert not ports & {calm.stack.port("interview"), calm.stack.port("notification")}


def _remote_ports(pid: int) -> set[int]:
    """Remote ports of a process's TCP connections."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                ports.add(int(fields[2].rpartition(":")[2], 16))
    return ports


def test_proof_26_payment_is_told_no_address_of_the_others() -> None:
    """Its settings name the provider, the database and the broker."""
    config = (PROJECT / "payment_svc" / "config.py").read_text("utf-8")
    assert "interview" not in config
    assert "notification_" not in config
