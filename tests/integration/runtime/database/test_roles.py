"""deploy/postgres/roles.sql as an administrator of a managed server, and as a superuser.

The script runs for services of other names, whose roles do not exist in the server yet.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from devstack.stack import Stack
from runtime.database.roles import ROLES_SQL

ADMIN, DATABASE, OTHER = "managed_admin", "managed", "managed_other"
PASSWORD = "password"
SERVICES = ("alpha", "beta", "gamma")
ROLES = tuple(f"{service}_{kind}" for service in SERVICES for kind in ("owner", "runtime"))
ATTRIBUTES = (
    "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit"
    " FROM pg_roles WHERE rolname = ANY($1)"
)


@dataclass
class ManagedServer:
    """A database whose owner may create roles and is no superuser, and a database of others."""

    stack: Stack
    superuser: asyncpg.Connection

    @asynccontextmanager
    async def connected(
        self, user: str = "postgres", database: str = DATABASE
    ) -> AsyncIterator[asyncpg.Connection]:
        url = self.stack.postgres_server.url.with_database(database)
        if user != "postgres":
            url = url.with_login(user, PASSWORD)
        connection = await asyncpg.connect(**url.connect_args())
        try:
            yield connection
        finally:
            await connection.close()

    async def run_script(self, user: str) -> None:
        """Runs the script, and sets passwords as its administrator would."""
        script = ROLES_SQL.read_text("utf-8")
        assert "'payment', 'interview', 'notification'" in script
        names = ", ".join(f"'{service}'" for service in SERVICES)
        async with self.connected(user) as connection:
            await connection.execute(
                script.replace("'payment', 'interview', 'notification'", names)
            )
            for role in ROLES:
                await connection.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")


@pytest.fixture
async def managed(servers: Stack) -> AsyncIterator[ManagedServer]:
    superuser = await servers.postgres_server.connect("postgres")
    for statement in (
        f"CREATE ROLE {ADMIN} LOGIN CREATEROLE CREATEDB NOINHERIT PASSWORD '{PASSWORD}'",
        f"CREATE DATABASE {DATABASE} OWNER {ADMIN}",
        f"CREATE DATABASE {OTHER} OWNER {ADMIN}",
    ):
        await superuser.execute(statement)
    try:
        yield ManagedServer(servers, superuser)
    finally:
        await superuser.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        await superuser.execute(f"DROP DATABASE {OTHER} WITH (FORCE)")
        for role in (*ROLES, ADMIN):
            await superuser.execute(f"DROP ROLE IF EXISTS {role}")
        await superuser.close()


@pytest.mark.parametrize("user", [ADMIN, "postgres"])
async def test_the_script_runs_again_and_again(managed: ManagedServer, user: str) -> None:
    """The roles have no attribute that a service must not have."""
    for _ in range(2):
        await managed.run_script(user)
    rows = await managed.superuser.fetch(ATTRIBUTES, ROLES)
    assert [any(row) for row in rows] == [False] * len(ROLES)
    members = "SELECT count(*) FROM pg_auth_members WHERE member = $1::regrole AND set_option"
    assert await managed.superuser.fetchval(members, ADMIN) == 0


@pytest.mark.parametrize("user", [ADMIN, "postgres"])
async def test_owners_migrate_and_runtime_roles_read_and_write_their_own_rows_only(
    managed: ManagedServer, user: str
) -> None:
    await managed.run_script(user)
    async with managed.connected("alpha_owner") as owner:
        await owner.execute("CREATE TABLE things (id bigserial, name text)")
    async with managed.connected("alpha_runtime") as runtime:
        await runtime.execute("INSERT INTO things (name) VALUES ('a')")
        await runtime.execute("DELETE FROM things")
        for statement in (
            "CREATE TABLE alpha.others (id int)",
            "CREATE TABLE public.others (id int)",
            "CREATE TEMPORARY TABLE others (id int)",
            "DROP TABLE alpha.things",
            "SET ROLE alpha_owner",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await runtime.execute(statement)
    async with managed.connected("beta_runtime") as other:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await other.fetch("SELECT * FROM alpha.things")


async def test_no_role_of_a_service_may_connect_to_another_database(
    managed: ManagedServer,
) -> None:
    """To none at all after a superuser ran the script; to none of its own after an admin did."""
    await managed.superuser.execute("GRANT CONNECT ON DATABASE template1 TO PUBLIC")
    for user, databases in (
        (ADMIN, [OTHER]),
        ("postgres", [OTHER, "postgres", "template1", "mock_interview"]),
    ):
        await managed.run_script(user)
        for role in ROLES:
            for database in databases:
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="CONNECT"):
                    async with managed.connected(role, database):
                        pass


async def test_attributes_that_a_role_has_too_many_are_taken_away_or_named(
    managed: ManagedServer,
) -> None:
    await managed.run_script(ADMIN)
    await managed.superuser.execute("ALTER ROLE alpha_runtime CREATEROLE BYPASSRLS")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await managed.run_script(ADMIN)
    await managed.run_script("postgres")
    assert not any(await managed.superuser.fetchrow(ATTRIBUTES, ["alpha_runtime"]))


async def test_a_role_that_may_not_create_roles_gets_an_error_that_names_the_privilege(
    managed: ManagedServer,
) -> None:
    await managed.superuser.execute(f"ALTER ROLE {ADMIN} NOCREATEROLE")
    with pytest.raises(asyncpg.RaiseError, match="a role with CREATEROLE that owns database"):
        await managed.run_script(ADMIN)
