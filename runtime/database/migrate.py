"""Migrations: `python -m runtime.database.migrate payment_svc` upgrades a schema, as its owner.

A service's revisions are in its
`migrations/versions`; the Alembic environment that they share is here. A migration lock serializes
concurrent deployments. Which code may run on which schema: `runtime/database/served_code.py`.
"""

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

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

_USAGE = """Usage: python -m runtime.database.migrate <package of a service, such as payment_svc>

Upgrades the service's schema, as its owner. The owner's URL is read from
<SERVICE>_OWNER_DATABASE_URL, or from the file that <SERVICE>_OWNER_DATABASE_URL_FILE names.
"""


def run_environment(metadata: MetaData) -> None:
    """Runs a service's migrations; called by its `migrations/env.py`."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=metadata.schema,
        include_schemas=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def upgrade(package: str, url: DatabaseUrl) -> bool:
    """Upgrades a service's schema to its latest revision; idempotent.

    False if there is nothing to do, since newer code has upgraded the schema further and it still
    serves this code. Raises SchemaNotServing if it does not, InvalidMigration.
    """
    name, config = ServiceName.of_package(package), config_of(package)

    def run(connection: Connection) -> bool:
        lock(connection, name)
        if is_newer(connection, name):
            return False
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        record(connection, name)
        return True

    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        connect_args=connect_args(url, f"migrate {package}", **UNNAMED_STATEMENTS),
    )
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(run)
    finally:
        await engine.dispose()


def main() -> None:
    """Runs the command; exit status 2 for a wrong call or URL, 1 if it cannot be done."""
    if len(sys.argv) != 2 or not _has_migrations(sys.argv[1]):  # noqa: PLR2004
        sys.stderr.write(_USAGE)
        raise SystemExit(2)
    package = sys.argv[1]
    variable = f"{ServiceName.of_package(package).settings_prefix}OWNER_DATABASE_URL"
    try:
        url = DatabaseUrl.parse(with_files([variable], os.environ)[variable])
    except VariableFilesUnreadable as error:
        _refuse(f"environment variable {error}")
    except KeyError:
        _refuse(f"environment variable {variable} is not set")
    except InvalidDatabaseUrl as error:
        _refuse(f"environment variable {variable}: {error}")
    try:
        upgraded = asyncio.run(upgrade(package, url))
    except (DBAPIError, *DRIVER_ERRORS, CommandError, InvalidMigration, SchemaNotServing) as error:
        cause = getattr(error, "orig", None) or error
        problem = " ".join(str(cause).split()) or type(cause).__name__
        raise SystemExit(f"migrate {package}: {problem}") from error
    if not upgraded:
        sys.stdout.write(f"migrate {package}: the schema is newer and serves this code\n")


def _refuse(problem: str) -> NoReturn:
    sys.stderr.write(f"migrate: {problem}\n")
    raise SystemExit(2)


def _has_migrations(package: str) -> bool:
    spec = find_spec(package) if package.isidentifier() else None
    places = spec.submodule_search_locations if spec else None
    return any((Path(place) / "migrations").is_dir() for place in places or ())


if __name__ == "__main__":
    main()
