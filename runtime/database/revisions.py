"""Which code a schema serves: old and new code run on one schema during a release.

The revision of a schema is the last migration that ran; the revision of code is its latest
migration. Each migration states `oldest_served_code`: the oldest code revision that works on the
schema after it. The database records what its schema serves, for code that is older than the
schema and does not have the newer migrations.

A service needs only what is here; `runtime/database/served_code.py` has what migrating needs.
"""

from importlib.resources import files

from sqlalchemy import Connection, TableClause, Text, column, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.service_name import ServiceName


class SchemaNotServing(Exception):
    """The schema is older than the code, or newer and serves it no longer."""


def head_revision(package: str) -> str:
    """The revision of a service's code: the highest number of the files of its migrations.

    Alembic, which would read it from the migrations, stays out of the memory of a service.
    """
    versions = files(package) / "migrations" / "versions"
    names = (file.name for file in versions.iterdir() if file.name.endswith(".py"))
    return max(names).partition("_")[0]


async def check_schema(connection: AsyncConnection, name: ServiceName) -> None:
    """Raises SchemaNotServing if the code of this process must not run on the schema.

    Raises DBAPIError if the schema was never migrated.
    """
    await connection.run_sync(check, name)


def check(connection: Connection, name: ServiceName) -> None:
    """Raises SchemaNotServing if the code of this process must not run on the schema."""
    code = head_revision(name.package)
    found = connection.scalar(select(version_table(name).c.version_num))
    if found == code:
        return
    served = served_code_table(name).c
    serves = select(served.code_revision).where(
        served.schema_revision == found, served.code_revision == code
    )
    if connection.execute(serves).first() is None:
        raise SchemaNotServing(
            f"schema {name.schema} is at revision {found}, which does not serve this code,"
            f" revision {code}"
        )


def version_table(name: ServiceName) -> TableClause:
    """Alembic's table of the schema's revision."""
    return table("alembic_version", column("version_num", Text), schema=name.schema)


def served_code_table(name: ServiceName) -> TableClause:
    """The table of the code revisions that the schema serves."""
    columns = column("schema_revision", Text), column("code_revision", Text)
    return table("served_code", *columns, schema=name.schema)
