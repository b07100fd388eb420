"""A PostgreSQL server as its superuser sees it, and what the platform keeps in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from devstack.errors import DevstackError
from devstack.supervision.ports import LOOPBACK

SUPERUSER = "postgres"
DATABASE = "mock_interview"
SERVICES = ("payment", "interview", "notification")
ROLES = tuple(f"{service}_{kind}" for service in SERVICES for kind in ("owner", "runtime"))
ROLES_SQL = Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql"

_CONNECT_LIMIT = 5.0


@dataclass(frozen=True)
class Server:
    """How to reach a PostgreSQL as its superuser."""

    host: str
    port: int
    user: str
    password: str

    @classmethod
    def from_url(cls, url: str) -> "Server":
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or LOOPBACK,
            port=parts.port or 5432,
            user=unquote(parts.username or SUPERUSER),
            password=unquote(parts.password or ""),
        )

    async def connect(self, database: str) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            timeout=_CONNECT_LIMIT,
        )

    async def is_ready(self) -> bool:
        try:
            connection = await self.connect("postgres")
        except asyncpg.InvalidPasswordError as error:
            raise DevstackError(
                f"PostgreSQL on {self.host}:{self.port} refuses the password of {self.user}. "
                "If the data directory's secrets.json was lost, `make clean` starts afresh."
            ) from error
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True


async def provision(server: Server, passwords: Mapping[str, str]) -> None:
    """Creates the database, its roles and schemas, and sets the roles' passwords."""
    connection = await server.connect("postgres")
    try:
        found = await connection.fetchval(
            "SELECT true FROM pg_database WHERE datname = $1", DATABASE
        )
        if not found:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    connection = await server.connect(DATABASE)
    try:
        await connection.execute(ROLES_SQL.read_text("utf-8"))
        for role in ROLES:
            statement = await connection.fetchval(
                "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)",
                role,
                passwords[role],
            )
            await connection.execute(statement)
    finally:
        await connection.close()
