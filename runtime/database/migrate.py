"""Migrations: `python -m runtime.database.migrate payment_svc` upgrades a schema, as its owner.

A service's revisions are in its
`migrations/versions`; the Alembic environment that they share is here. A migration lock serializes
concurrent deployments.
"""

import asyncio
import os
import sys
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from runtime.service_name import ServiceName

_ROOT = Path(__file__).parents[2]
_USAGE = """Usage: python -m runtime.database.migrate <package of a service, such as payment_svc>

Upgrades the service's schema, as its owner. The owner's URL is read from
<SERVICE>_OWNER_DATABASE_URL.
"""


def _config(package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_ROOT / package / "migrations"))
    return config


def head_revision(package: str) -> str | None:
    """The revision that a service's code requires."""
    return ScriptDirectory.from_config(_config(package)).get_current_head()


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
        # The migration lock: of two concurrent deployments the second waits and has nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('migrate'))"))
        context.run_migrations()
        # By default the runtime role may write to every table; this one it may only read.
        connection.execute(
            text(
                f"REVOKE INSERT, UPDATE, DELETE ON {metadata.schema}.alembic_version"
                f" FROM {metadata.schema}_runtime"
            )
        )


async def upgrade(package: str, url: str) -> None:
    """Upgrades a service's schema to its latest revision; idempotent."""
    engine = create_async_engine(url, poolclass=NullPool)
    config = _config(package)

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def main() -> None:
    """Runs the command; exit status 2 for a wrong call, 1 if the database refuses."""
    if len(sys.argv) != 2 or not (_ROOT / sys.argv[1] / "migrations").is_dir():  # noqa: PLR2004
        sys.stderr.write(_USAGE)
        raise SystemExit(2)
    package = sys.argv[1]
    name = f"{ServiceName.of_package(package).settings_prefix}OWNER_DATABASE_URL"
    if not (url := os.environ.get(name)):
        raise SystemExit(f"migrate: environment variable {name} is not set")
    try:
        asyncio.run(upgrade(package, url))
    except (DBAPIError, OSError) as error:
        raise SystemExit(f"migrate {package}: {getattr(error, 'orig', None) or error}") from error


if __name__ == "__main__":
    main()
