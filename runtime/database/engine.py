"""The connection pool of a service, and the checks at its start."""

import asyncio

import structlog
from sqlalchemy import MetaData, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from eventbus.database_errors import (
    discard_failed_connections,
    name_connection_errors,
    replace_closed_connections,
)
from eventbus.errors import describe_error
from runtime.database.revisions import SchemaNotServing, check_schema
from runtime.database_url import DatabaseUrl
from runtime.service_name import ServiceName
from runtime.settings import ServiceSettings

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 0.5

NAMING = {
    "ix": "%(column_0_N_label)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


class DatabaseNotReady(Exception):
    """The database cannot be reached, or its schema does not serve this code."""


class UnsafeRole(Exception):
    """The database role has privileges that a running service must not have."""


def metadata(schema: str) -> MetaData:
    """Metadata of one service's schema, with a naming convention for constraints."""
    return MetaData(schema=schema, naming_convention=NAMING)


def create_engine(config: ServiceSettings, name: str) -> AsyncEngine:
    """The engine of a service."""
    return open_pool(config.database_url.get_secret_value(), config.database_pool_size, name)


def open_pool(url: str, size: int, name: str) -> AsyncEngine:
    """An engine whose pool replaces connections that a restart or a failover made useless.

    Raises InvalidDatabaseUrl.
    """
    parsed = DatabaseUrl.parse(url)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        pool_size=size,
        max_overflow=0,
        pool_timeout=5,
        pool_recycle=1800,
        # Errors are logged; parameters contain customers' data.
        hide_parameters=True,
        connect_args={
            # Of several hosts the primary. A standby would refuse writes and answer with old data.
            "target_session_attrs": parsed.parameters.get("target_session_attrs", "read-write"),
            **parsed.connect_args(name),
            # Statements and connecting have time-outs: no call hangs on the database.
            "command_timeout": 20,
            "server_settings": {"timezone": "UTC"},
        },
    )
    name_connection_errors(engine)
    discard_failed_connections(engine)
    replace_closed_connections(engine)
    return engine


async def wait_until_ready(engine: AsyncEngine, name: ServiceName, seconds: float) -> None:
    """Waits until the database is reachable and its schema serves this code.

    Raises DatabaseNotReady, UnsafeRole.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with engine.connect() as connection:
                await check_schema(connection, name)
            await _refuse_unsafe_role(engine, name)
        except SchemaNotServing as error:
            problem = str(error)
        except (SQLAlchemyError, OSError) as error:
            problem = describe_error(error)
        else:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise DatabaseNotReady(problem)
        _log.warning("waiting for the database", problem=problem)
        await asyncio.sleep(_RETRY_SECONDS)


_PRIVILEGES = """
SELECT rolname, rolsuper, rolcreaterole, rolbypassrls,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema
               AND pg_has_role(current_user, nspowner, 'MEMBER')) AS owner
FROM pg_roles WHERE rolname = current_user
"""


async def _refuse_unsafe_role(engine: AsyncEngine, name: ServiceName) -> None:
    """Refuses a role that could change its own privileges; raises UnsafeRole."""
    async with engine.connect() as connection:
        row = (await connection.execute(text(_PRIVILEGES), {"schema": name.schema})).one()
    for has_privilege, description in (
        (row.rolsuper, "a superuser"),
        (row.rolcreaterole, "allowed to create roles"),
        (row.rolbypassrls, "allowed to bypass row security"),
        (row.owner, f"an owner of schema {name.schema}"),
    ):
        if has_privilege:
            raise UnsafeRole(
                f"role {row.rolname} is {description}; a service must run as {name.runtime_role}"
            )
