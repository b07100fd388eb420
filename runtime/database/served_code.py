"""What a migration does beside its changes: it locks, and records which code the schema serves."""

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select, text

from runtime.database.revisions import check, head_revision, served_code_table, version_table
from runtime.service_name import ServiceName


class InvalidMigration(Exception):
    """A migration does not state which code it serves, or its file is not named after it."""


def config_of(package: str) -> Config:
    """Alembic's configuration for the migrations of a service's package."""
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    return config


def served_code(package: str) -> list[str]:
    """The code revisions that the latest schema serves, newest first; raises InvalidMigration."""
    scripts = list(ScriptDirectory.from_config(config_of(package)).walk_revisions())
    revisions = [script.revision for script in scripts]
    if revisions[0] != (numbered := head_revision(package)):
        raise InvalidMigration(
            f"the latest migration is {revisions[0]}, that of the highest file name {numbered}:"
            " a file's name has to begin with the number that is its revision"
        )
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


def is_newer(connection: Connection, name: ServiceName) -> bool:
    """Whether the schema has migrations that this code lacks.

    Raises SchemaNotServing if it does not serve this code.
    """
    if not inspect(connection).has_table("alembic_version", name.schema):
        return False
    found = connection.scalar(select(version_table(name).c.version_num))
    scripts = ScriptDirectory.from_config(config_of(name.package)).walk_revisions()
    if found is None or found in {script.revision for script in scripts}:
        return False
    check(connection, name)
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
    served, head = served_code_table(name), head_revision(name.package)
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
