"""Roles and schemas: `python -m runtime.database.roles`, as an administrator of the database.

Runs `deploy/postgres/roles.sql`, and sets the passwords that the services' database URLs contain.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import asyncpg

from eventbus.database_errors import DRIVER_ERRORS
from eventbus.variable_files import VariableFilesUnreadable, with_files
from runtime.database.connections import connect
from runtime.database_url import DatabaseUrl, InvalidDatabaseUrl

ROLES_SQL = Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql"
SERVICES = ("payment", "interview", "notification")
_ADMIN = "ADMIN_DATABASE_URL"
URL_OF_ROLE = {
    f"{service}_{kind}": f"{service.upper()}_{prefix}DATABASE_URL"
    for service in SERVICES
    for kind, prefix in (("owner", "OWNER_"), ("runtime", ""))
}
_WAIT_SECONDS, _RETRY_SECONDS = 60.0, 0.5
_ITERATIONS = 4096  # PostgreSQL's own
_USAGE = f"""Usage: python -m runtime.database.roles

Creates or corrects the roles and schemas of the services, in the database and as the role of
{_ADMIN}: a superuser, or a role with CREATEROLE that owns the database. It can be run again.

Sets the passwords in {", ".join(URL_OF_ROLE.values())},
as far as they are given. Each variable can be a file instead: {_ADMIN}_FILE.
"""


class InvalidPassword(ValueError):
    """A password that cannot be set, without the password."""


def verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL stores of a password (SCRAM-SHA-256): the server never sees the password.

    Raises InvalidPassword for one that is not of printable ASCII: clients would normalise it.
    """
    if not password or not password.isascii() or not password.isprintable():
        raise InvalidPassword("a password must be of printable ASCII characters")
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    texts = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    encoded_salt, encoded_stored, encoded_server = texts
    return f"SCRAM-SHA-256${_ITERATIONS}:{encoded_salt}${encoded_stored}:{encoded_server}"


async def apply(
    connection: "asyncpg.Connection[asyncpg.Record]", passwords: Mapping[str, str]
) -> None:
    """Creates or corrects roles and schemas, and sets passwords by role; in one transaction.

    Raises InvalidPassword, and what the server raises.
    """
    verifiers = {role: verifier(password) for role, password in passwords.items()}
    async with connection.transaction():
        await connection.execute(ROLES_SQL.read_text("utf-8"))
        for role, text in verifiers.items():
            statement = await connection.fetchval(
                "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", role, text
            )
            await connection.execute(statement)


async def _run(url: DatabaseUrl, passwords: Mapping[str, str]) -> None:
    connection = await _connect(url)
    try:
        await apply(connection, passwords)
    finally:
        await connection.close()


async def _connect(url: DatabaseUrl) -> "asyncpg.Connection[asyncpg.Record]":
    """Waits for the server: it may have been started together with this."""
    deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
    while True:
        try:
            return await connect(url, "roles", statement_cache_size=0)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


def main() -> None:
    """Runs the command; exit status 2 for a wrong call or URL, 1 if it cannot be done."""
    if len(sys.argv) != 1:
        sys.stderr.write(_USAGE)
        raise SystemExit(2)
    try:
        environ = with_files([_ADMIN, *URL_OF_ROLE.values()], os.environ)
    except VariableFilesUnreadable as error:
        _refuse(f"environment variable {error}")
    if not environ.get(_ADMIN):
        _refuse(f"environment variable {_ADMIN} is not set")
    admin = _url(environ, _ADMIN)
    passwords = {
        role: _password(environ, variable, role)
        for role, variable in URL_OF_ROLE.items()
        if environ.get(variable)
    }
    try:
        asyncio.run(_run(admin, passwords))
    except DRIVER_ERRORS as error:
        raise SystemExit(f"roles: {' '.join(str(error).split())}") from error
    without = ", ".join(role for role in URL_OF_ROLE if role not in passwords)
    sys.stdout.write("roles and schemas are up to date\n")
    if without:
        sys.stdout.write(f"no password set for {without}: their URLs are not given\n")


def _url(environ: Mapping[str, str], variable: str) -> DatabaseUrl:
    try:
        return DatabaseUrl.parse(environ[variable])
    except InvalidDatabaseUrl as error:
        _refuse(f"environment variable {variable}: {error}")


def _password(environ: Mapping[str, str], variable: str, role: str) -> str:
    """The password in a URL, which has to be that of the role."""
    url = _url(environ, variable)
    if url.user != role:
        _refuse(f"environment variable {variable}: its user has to be {role}, not {url.user}")
    if not url.password:
        _refuse(f"environment variable {variable}: it has no password")
    try:
        verifier(url.password)
    except InvalidPassword as error:
        _refuse(f"environment variable {variable}: {error}")
    return url.password


def _refuse(problem: str) -> NoReturn:
    sys.stderr.write(f"roles: {problem}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
