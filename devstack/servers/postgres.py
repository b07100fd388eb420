"""Superuser access to a PostgreSQL server, and the database, schemas and roles in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from devstack.errors import DevstackError
from eventbus.database_errors import DRIVER_ERRORS
from eventbus.errors import describe_error
from runtime.database import roles
from runtime.database.connections import connect
from runtime.database_url import DatabaseUrl

SUPERUSER = "postgres"
DATABASE = "mock_interview"
SERVICES = roles.SERVICES
ROLES = tuple(roles.URL_OF_ROLE)


class PostgresUnreachable(DevstackError):
    """No connection to the server succeeds; the message has the cause."""


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server and its superuser, or an administrator that may create roles."""

    url: DatabaseUrl

    async def connect(self, database: str) -> "asyncpg.Connection[asyncpg.Record]":
        return await connect(self.url.with_database(database), "devstack")

    async def is_ready(self) -> bool:
        """True if a connection succeeds; raises DevstackError if the password is rejected."""
        try:
            await self.check_login()
        except PostgresUnreachable:
            return False
        return True

    async def check_login(self) -> None:
        """Raises DevstackError unless a connection succeeds."""
        try:
            connection = await self.connect("postgres")
        except asyncpg.InvalidPasswordError as error:
            raise DevstackError(
                f"PostgreSQL on {self.url.hosts} rejects the password: {error}. "
                "If secrets.json in the data directory was lost, `make clean` removes all data."
            ) from error
        except DRIVER_ERRORS as error:
            raise PostgresUnreachable(
                f"cannot connect to PostgreSQL on {self.url.hosts}: {describe_error(error)}"
            ) from error
        await connection.close()


async def provision(server: Server, passwords: Mapping[str, str]) -> None:
    """Creates the database, schemas and roles if missing, and sets the roles' passwords."""
    connection = await server.connect("postgres")
    try:
        exists = await connection.fetchval(
            "SELECT true FROM pg_database WHERE datname = $1", DATABASE
        )
        if not exists:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    connection = await server.connect(DATABASE)
    try:
        await roles.apply(connection, {role: passwords[role] for role in ROLES})
    finally:
        await connection.close()
