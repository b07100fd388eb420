"""Migrations: `python -m runtime.database.migrate payment_svc` upgrades a schema, as its owner.

A service's revisions are in its `migrations/versions`; the Alembic environment that they share is
here. A migration lock serializes concurrent deployments. Which code may run on which schema:
`runtime/database/served_code.py`.

While a migration waits for a table, everybody else waits behind it. So it waits for a short time
only, undoes all that it did, lets the others through, and tries again.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from alembic import command, context
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from eventbus.database_errors import DRIVER_ERRORS
from eventbus.variable_files import VariableFilesUnreadable, with_files
from runtime.database.connections import UNNAMED_STATEMENTS, connect_args
from runtime.database.revisions import SchemaNotServing
from runtime.database.served_code import InvalidMigration, config_of, is_newer, lock, record
from runtime.database_url import DatabaseUrl, InvalidDatabaseUrl
from runtime.service_name import ServiceName

# The SQLSTATEs of a lock that another session has: not in time, and not without a deadlock.
_LOCKED = frozenset({"55P03", "40P01"})
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 10.0


@dataclass(frozen=True)
class Limits:
    """How long a migration waits for a lock, how long a statement takes, and how often it tries."""

    lock_seconds: float = 3.0
    statement_seconds: float = 600.0
    attempts: int = 10


DEFAULT_LIMITS = Limits()
_MAX_SECONDS = 86400.0
_USAGE = f"""Usage: python -m runtime.database.migrate PACKAGE... [--lock-seconds N]
                                          [--statement-seconds N] [--sql]

Upgrades the schemas of services in this order, as their owners; a PACKAGE is a service's, such as
payment_svc. An owner's URL is read from <SERVICE>_OWNER_DATABASE_URL, or from the file that
<SERVICE>_OWNER_DATABASE_URL_FILE names.

--lock-seconds N       how long it waits for a table, before it undoes everything, lets others
                       through and tries again; {DEFAULT_LIMITS.lock_seconds:g} by default
--statement-seconds N  how long a statement may take, by default
                       {DEFAULT_LIMITS.statement_seconds:g}
--sql                  prints the SQL of all migrations instead
"""


def run_environment(metadata: MetaData) -> None:
    """Runs a service's migrations; called by its `migrations/env.py`."""
    options: Any = {
        "target_metadata": metadata,
        "version_table_schema": metadata.schema,
        "include_schemas": True,
    }
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, **options)
    else:
        context.configure(connection=context.config.attributes["connection"], **options)
    limits: Limits = context.config.attributes.get("limits", DEFAULT_LIMITS)
    with context.begin_transaction():
        context.execute(f"SET LOCAL lock_timeout = '{limits.lock_seconds * 1000:.0f}ms'")
        context.execute(f"SET LOCAL statement_timeout = '{limits.statement_seconds * 1000:.0f}ms'")
        context.run_migrations()


def render(package: str, revisions: str) -> str:
    """The SQL of migrations, such as those of `0001:0002`, without a database."""
    config, output = config_of(package), StringIO()
    config.output_buffer = output
    command.upgrade(config, revisions, sql=True)
    return output.getvalue()


async def upgrade(
    package: str,
    url: DatabaseUrl,
    limits: Limits = DEFAULT_LIMITS,
    report: Callable[[str], None] = lambda _: None,
) -> bool:
    """Upgrades a service's schema to its latest revision; idempotent.

    It tries again if a table is locked. False if there is nothing to do, since newer code has
    upgraded the schema further and it still serves this code. Raises SchemaNotServing if it does
    not, InvalidMigration, DBAPIError.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        connect_args=connect_args(url, f"migrate {package}", **UNNAMED_STATEMENTS),
    )
    try:
        attempt = 1
        while True:
            try:
                async with engine.begin() as connection:
                    return await connection.run_sync(_upgrade, package, limits)
            except DBAPIError as error:
                if _sqlstate(error) not in _LOCKED or attempt == limits.attempts:
                    raise
            pause = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            report(f"a table is locked by another session; trying again in {pause:g} s")
            await asyncio.sleep(pause)
            attempt += 1
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, package: str, limits: Limits) -> bool:
    name, config = ServiceName.of_package(package), config_of(package)
    lock(connection, name)
    if is_newer(connection, name):
        return False
    config.attributes |= {"connection": connection, "limits": limits}
    command.upgrade(config, "head")
    record(connection, name)
    return True


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", ""))


def main() -> None:
    """Runs the command; exit status 2 for a wrong call or URL, 1 if it cannot be done."""
    options = _options()
    for package in options.packages:
        if options.sql:
            sys.stdout.write(render(package, "head"))
        else:
            _migrate(package, Limits(options.lock_seconds, options.statement_seconds))


def _migrate(package: str, limits: Limits) -> None:
    variable = f"{ServiceName.of_package(package).settings_prefix}OWNER_DATABASE_URL"
    try:
        url = DatabaseUrl.parse(with_files([variable], os.environ)[variable])
    except VariableFilesUnreadable as error:
        _refuse(f"environment variable {error}")
    except KeyError:
        _refuse(f"environment variable {variable} is not set")
    except InvalidDatabaseUrl as error:
        _refuse(f"environment variable {variable}: {error}")

    def report(line: str) -> None:
        sys.stdout.write(f"migrate {package}: {line}\n")

    try:
        upgraded = asyncio.run(upgrade(package, url, limits, report))
    except (DBAPIError, *DRIVER_ERRORS, CommandError, InvalidMigration, SchemaNotServing) as error:
        cause = getattr(error, "orig", None) or error
        problem = " ".join(str(cause).split()) or type(cause).__name__
        raise SystemExit(f"migrate {package}: {problem}") from error
    if not upgraded:
        report("the schema is newer and serves this code")


class _Parser(argparse.ArgumentParser):
    """Prints the usage in the form of the other commands."""

    def format_usage(self) -> str:
        return _USAGE

    def format_help(self) -> str:
        return _USAGE


def _options() -> argparse.Namespace:
    parser = _Parser(prog="migrate")
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--lock-seconds", type=_seconds, default=DEFAULT_LIMITS.lock_seconds)
    seconds = DEFAULT_LIMITS.statement_seconds
    parser.add_argument("--statement-seconds", type=_seconds, default=seconds)
    parser.add_argument("--sql", action="store_true")
    options = parser.parse_args()
    for package in options.packages:
        if not _has_migrations(package):
            parser.error(f"{package} is no package of a service")
    return options


def _seconds(text: str) -> float:
    """A time limit; 0 would be none for PostgreSQL. Raises ValueError."""
    seconds = float(text)
    if not 0.001 <= seconds <= _MAX_SECONDS:  # noqa: PLR2004  PostgreSQL counts milliseconds
        raise ValueError(text)
    return seconds


def _refuse(problem: str) -> NoReturn:
    sys.stderr.write(f"migrate: {problem}\n")
    raise SystemExit(2)


def _has_migrations(package: str) -> bool:
    spec = find_spec(package) if package.isidentifier() else None
    places = spec.submodule_search_locations if spec else None
    return any((Path(place) / "migrations").is_dir() for place in places or ())


if __name__ == "__main__":
    main()
