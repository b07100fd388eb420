"""Which code a schema serves: old and new code run on one schema during a release.

The revision of a schema is the last migration that ran; the revision of code is its latest
migration. Each migration states `oldest_served_code`: the oldest code revision that works on the
schema after it. The database records what its schema serves, for code that is older than the
schema and does not have the newer migrations.
"""

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import (
    Connection,
    TableClause,
    Text,
    column,
    delete,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.service_name import ServiceName


class SchemaNotServing(Exception):
    """The schema is older than the code, or newer and serves it no longer."""


class InvalidMigration(Exception):
    """A migration does not state which code it serves."""


def config_of(package: str) -> Config:
    """Alembic's configuration for the migrations of a service's package."""
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    return config


def head_revision(package: str) -> str | None:
    """The revision of a service's code."""
    return ScriptDirectory.from_config(config_of(package)).get_current_head()


def served_code(package: str) -> list[str]:
    """The code revisions that the latest schema serves, newest first; raises InvalidMigration."""
    scripts = list(ScriptDirectory.from_config(config_of(package)).walk_revisions())
    revisions = [script.revision for script in scripts]
    # Every migration since its revision must serve a code: the newest statement is the limit.
    oldest = min(
        (_oldest_served(script, revisions[age:], age) for age, script in enumerate(scripts)),
        default=-1,
    )
    return revisions[: oldest + 1]


def _oldest_served(script: Script, known: list[str], age: int) -> int:
    """The age of the oldest code that a migration serves; that of the latest code is 0."""
    stated = getattr(script.module, "oldest_served_code", None)
    if stated not in known:
        raise InvalidMigration(
            f"migration {script.revision} states oldest_served_code = {stated!r}; it has to be the"
            " revision of this or an earlier migration"
        )
    return age + known.index(stated)


async def check_schema(connection: AsyncConnection, name: ServiceName) -> None:
    """Raises SchemaNotServing if the code of this process must not run on the schema.

    Raises DBAPIError if the schema was never migrated.
    """
    await connection.run_sync(_check, name)


def _check(connection: Connection, name: ServiceName) -> None:
    code = head_revision(name.package)
    found = connection.scalar(select(_versions(name).c.version_num))
    if found == code:
        return
    served = _served_code(name).c
    serves = select(served.code_revision).where(
        served.schema_revision == found, served.code_revision == code
    )
    if connection.execute(serves).first() is None:
        raise SchemaNotServing(
            f"schema {name.schema} is at revision {found}, which does not serve this code,"
            f" revision {code}"
        )


def is_newer(connection: Connection, name: ServiceName) -> bool:
    """Whether the schema has migrations that this code lacks.

    Raises SchemaNotServing if it does not serve this code.
    """
    if not inspect(connection).has_table("alembic_version", name.schema):
        return False
    found = connection.scalar(select(_versions(name).c.version_num))
    scripts = ScriptDirectory.from_config(config_of(name.package)).walk_revisions()
    if found is None or found in {script.revision for script in scripts}:
        return False
    _check(connection, name)
    return True


def lock(connection: Connection, name: ServiceName) -> None:
    """Makes other migrations of the schema wait until the end of the transaction.

    The lock is on a table that only its owner may lock: any role may take an advisory lock.
    """
    # Of two first migrations, the second waits here for the first, and then finds the table.
    columns = "schema_revision text, code_revision text"
    connection.execute(
        text(
            f"DO $$ BEGIN CREATE TABLE IF NOT EXISTS {name.schema}.served_code"
            f" ({columns}, PRIMARY KEY (schema_revision, code_revision));"
            " EXCEPTION WHEN unique_violation OR duplicate_table THEN NULL; END $$"
        )
    )
    connection.execute(text(f"LOCK TABLE {name.schema}.served_code IN SHARE ROW EXCLUSIVE MODE"))


def record(connection: Connection, name: ServiceName) -> None:
    """Records which code the schema serves, after its migration to the latest revision."""
    served, head = _served_code(name), head_revision(name.package)
    connection.execute(delete(served))
    connection.execute(
        insert(served),
        [{"schema_revision": head, "code_revision": code} for code in served_code(name.package)],
    )
    # By default the runtime role may write to every table; these it may only read.
    connection.execute(
        text(
            f"REVOKE INSERT, UPDATE, DELETE ON {name.schema}.served_code,"
            f" {name.schema}.alembic_version FROM {name.runtime_role}"
        )
    )


def _versions(name: ServiceName) -> TableClause:
    return table("alembic_version", column("version_num", Text), schema=name.schema)


def _served_code(name: ServiceName) -> TableClause:
    columns = column("schema_revision", Text), column("code_revision", Text)
    return table("served_code", *columns, schema=name.schema)
