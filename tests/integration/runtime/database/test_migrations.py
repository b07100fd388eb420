"""Rolling releases and roll-backs: which code starts on which schema, on real PostgreSQL.

A migration one ahead of the running code is added to a copy of notification's package. The newer
code is that copy; the older, or rolled-back, code is the project itself.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from devstack.commands import PROJECT
from devstack.polling import wait_until
from devstack.servers.postgres import DATABASE
from devstack.stack import Stack
from runtime.database.engine import DatabaseNotReady, wait_until_ready
from runtime.database.migrate import Limits, upgrade
from runtime.database.revisions import head_revision
from runtime.database.roles import ROLES_SQL
from runtime.database.served_code import served_code
from runtime.database_url import DatabaseUrl
from runtime.service_name import ServiceName

NAME = ServiceName("notification")
CODE = head_revision(NAME.package)
NEXT_CODE = f"{int(CODE) + 1:04}"
NEXT = f"""
from alembic import op

revision, down_revision = "{NEXT_CODE}", "{CODE}"
{{statement}}

def upgrade() -> None:
    op.execute("ALTER TABLE notification.notifications {{change}}")
"""
EXPANDS = NEXT.format(statement=f'oldest_served_code = "{CODE}"', change="ADD COLUMN colour text")
CONTRACTS = NEXT.format(
    statement=f'oldest_served_code = "{NEXT_CODE}"', change="DROP COLUMN suppression_reason"
)
NOT_SERVED = f"which does not serve this code, revision {CODE}"
SILENT = NEXT.format(statement="", change="ADD COLUMN colour text")


@dataclass(frozen=True)
class Release:
    """A database of its own, and a copy of notification's package with more migrations."""

    stack: Stack
    database: str
    newer: Path

    def url(self, role: str) -> str:
        return f"{self.stack.database_url(role).removesuffix(DATABASE)}{self.database}"

    async def migrate(self, *first: Path, options: Sequence[str] = ()) -> tuple[int | None, str]:
        """Runs the migration command with the code in the given directory, by default the older."""
        paths = [*first, PROJECT, PROJECT / "gen"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "runtime.database.migrate", NAME.package, *options),
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "NOTIFICATION_OWNER_DATABASE_URL": self.url("notification_owner"),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    def add_migration(self, text: str) -> None:
        versions = self.newer / NAME.package / "migrations" / "versions"
        (versions / f"{NEXT_CODE}_next.py").write_text(text)

    async def start(self) -> None:
        """What the older code does first when it starts; raises DatabaseNotReady."""
        engine = create_async_engine(self.url(NAME.runtime_role), poolclass=NullPool)
        try:
            await wait_until_ready(engine, NAME, 0)
        finally:
            await engine.dispose()


@pytest.fixture
async def release(servers: Stack, tmp_path: Path) -> AsyncIterator[Release]:
    """A migrated database of its own."""
    database = "release"
    admin = await servers.postgres_server.connect("postgres")
    await admin.execute(f"CREATE DATABASE {database}")
    connection = await servers.postgres_server.connect(database)
    await connection.execute(ROLES_SQL.read_text("utf-8"))
    await connection.close()
    shutil.copytree(
        PROJECT / NAME.package,
        tmp_path / NAME.package,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    release = Release(servers, database, tmp_path)
    try:
        await upgrade(NAME.package, DatabaseUrl.parse(release.url("notification_owner")))
        yield release
    finally:
        await admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
        await admin.close()


async def test_code_starts_on_a_newer_schema_that_serves_it(release: Release) -> None:
    """An old process that restarts during the release, and one after a roll-back."""
    release.add_migration(EXPANDS)
    assert await release.migrate(release.newer) == (0, "")
    await release.start()


async def test_code_does_not_start_on_a_newer_schema_that_serves_it_no_longer(
    release: Release,
) -> None:
    release.add_migration(CONTRACTS)
    assert await release.migrate(release.newer) == (0, "")
    with pytest.raises(DatabaseNotReady, match=NOT_SERVED):
        await release.start()


async def test_code_does_not_start_on_an_older_schema(release: Release) -> None:
    """As if the migrations of this code had not run."""
    connection = await asyncpg.connect(release.url("notification_owner").replace("+asyncpg", ""))
    await connection.execute("UPDATE notification.alembic_version SET version_num = '0000'")
    await connection.close()
    with pytest.raises(DatabaseNotReady, match=NOT_SERVED):
        await release.start()


async def test_the_migration_command_of_rolled_back_code_leaves_a_serving_schema_alone(
    release: Release,
) -> None:
    """A deployment runs it each time; the newer code finds its schema unchanged afterwards."""
    release.add_migration(EXPANDS)
    await release.migrate(release.newer)
    status, output = await release.migrate()
    assert (status, output) == (
        0,
        "migrate notification_svc: the schema is newer and serves this code\n",
    )
    assert await release.migrate(release.newer) == (0, "")
    await release.start()


async def test_the_migration_command_of_rolled_back_code_says_that_the_schema_serves_it_no_longer(
    release: Release,
) -> None:
    release.add_migration(CONTRACTS)
    await release.migrate(release.newer)
    status, output = await release.migrate()
    assert status == 1
    assert output == (
        f"migrate notification_svc: schema notification is at revision {NEXT_CODE},"
        f" which does not serve this code, revision {CODE}\n"
    )


async def test_a_migration_that_does_not_state_what_it_serves_is_not_run(release: Release) -> None:
    release.add_migration(SILENT)
    status, output = await release.migrate(release.newer)
    assert status == 1
    assert output.startswith(
        f"migrate notification_svc: migration {NEXT_CODE} states oldest_served_code"
    )
    assert len(output.splitlines()) == 1
    await release.start()


async def test_migrations_wait_for_each_other(release: Release) -> None:
    """Also the first ones of a schema: each of these finds it migrated or migrates it."""
    owner = await release.stack.postgres_server.connect(release.database)
    await owner.execute("DROP SCHEMA notification CASCADE")
    await owner.execute(ROLES_SQL.read_text("utf-8"))
    await owner.close()
    results = await asyncio.gather(*(release.migrate() for _ in range(3)))
    assert results == [(0, "")] * 3


async def test_no_runtime_role_can_hold_up_a_migration(release: Release) -> None:
    """Neither by the lock of the migration, nor by an advisory lock of any key it could name."""
    for role in ("notification_runtime", "payment_runtime"):
        other = await asyncpg.connect(release.url(role).replace("+asyncpg", ""))
        for statement in (
            "LOCK TABLE notification.served_code IN SHARE ROW EXCLUSIVE MODE",
            "INSERT INTO notification.served_code VALUES ('0001', '0000')",
            "UPDATE notification.alembic_version SET version_num = '0002'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with other.transaction():
                    await other.execute(statement)
        await other.close()
    other = await asyncpg.connect(release.url("payment_runtime").replace("+asyncpg", ""))
    await other.execute("SELECT pg_advisory_lock(hashtext('migrate'))")
    async with asyncio.timeout(60):
        assert await release.migrate() == (0, "")
    await other.close()


@pytest.mark.parametrize("service", ["payment", "interview", "notification"])
def test_the_schema_of_a_release_serves_its_own_code(service: str) -> None:
    """Every migration states what it serves; without this, the migration command would fail."""
    assert served_code(ServiceName(service).package)


async def test_a_migration_whose_file_is_not_named_after_its_revision_is_refused(
    release: Release,
) -> None:
    """A service reads its revision from the names, without Alembic."""
    versions = release.newer / NAME.package / "migrations" / "versions"
    (versions / "next.py").write_text(EXPANDS)
    status, output = await release.migrate(release.newer)
    assert status == 1
    assert "begin with the number" in output


@asynccontextmanager
async def locked_table(release: Release) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose transaction has read a table, until it ends the transaction."""
    url = release.url("notification_runtime").replace("+asyncpg", "")
    reader = await asyncpg.connect(url)
    await reader.execute("BEGIN; SELECT FROM notification.notifications")
    try:
        yield reader
    finally:
        await reader.close()


async def test_a_migration_lets_others_through_while_a_table_is_locked(release: Release) -> None:
    """It gives up its place in the queue after a short time, and tries again."""
    release.add_migration(EXPANDS)
    admin = await release.stack.postgres_server.connect(release.database)
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"

    async def waits() -> bool:
        return bool(await admin.fetchval(waiting))

    async def waits_no_longer() -> bool:
        return not await waits()

    async with locked_table(release) as reader:
        options = ["--lock-seconds", "0.3"]
        migrating = asyncio.create_task(release.migrate(release.newer, options=options))
        await wait_until(waits, "the migration waits for the table")
        await wait_until(waits_no_longer, "it has given up")
        await reader.execute("ROLLBACK")
        status, output = await migrating
    await admin.close()
    assert status == 0
    assert "a table is locked by another session; trying again in 1 s" in output
    await release.start()


async def test_a_migration_that_never_gets_its_lock_changes_nothing(release: Release) -> None:
    limits = Limits(lock_seconds=0.1, attempts=2)
    reports: list[str] = []
    owner = DatabaseUrl.parse(release.url("notification_owner"))
    url = release.url("notification_owner").replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    await connection.execute("DROP TABLE notification.check_progress")
    await connection.execute("UPDATE notification.alembic_version SET version_num = '0001'")
    async with locked_table(release):
        with pytest.raises(DBAPIError, match="lock timeout"):
            await upgrade(NAME.package, owner, limits, reports.append)
    assert len(reports) == 1
    version = "SELECT version_num FROM notification.alembic_version"
    assert await connection.fetchval(version) == "0001"
    assert await connection.fetchval("SELECT to_regclass('notification.check_progress')") is None
    await connection.close()


async def test_a_statement_of_a_migration_has_a_time_limit(release: Release) -> None:
    """And is not repeated."""
    release.add_migration(EXPANDS.replace("ALTER TABLE", "SELECT pg_sleep(60) -- ALTER TABLE"))
    status, output = await release.migrate(release.newer, options=["--statement-seconds", "0.5"])
    assert status == 1
    assert "canceling statement due to statement timeout" in output
    assert "trying again" not in output
