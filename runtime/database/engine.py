"""The connection pool of a service, and the checks at its start."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy import MetaData, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from eventbus.database_errors import (
    DRIVER_ERRORS,
    discard_failed_connections,
    name_connection_errors,
    replace_closed_connections,
)
from eventbus.errors import describe_error
from runtime.database.connections import UNNAMED_STATEMENTS, connect_args
from runtime.database.pooler import keeps_prepared_statements
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


class UnsuitablePooler(Exception):
    """The connection pooler before the database cannot be used with these settings."""


class UnsafeRole(Exception):
    """The database role has privileges that a running service must not have."""


def metadata(schema: str) -> MetaData:
    """Metadata of one service's schema, with a naming convention for constraints."""
    return MetaData(schema=schema, naming_convention=NAMING)


def create_engine(config: ServiceSettings, name: str) -> AsyncEngine:
    """The engine of a service."""
    url = config.database_url.get_secret_value()
    return open_pool(url, config.database_pool_size, name, behind_pooler=config.database_pooled)


def open_pool(url: str, size: int, name: str, *, behind_pooler: bool = False) -> AsyncEngine:
    """An engine whose pool replaces connections that a restart or a failover made useless.

    `behind_pooler` leaves no state in a session. Raises InvalidDatabaseUrl.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        pool_size=size,
        max_overflow=0,
        pool_timeout=5,
        pool_recycle=1800,
        # Errors are logged; parameters contain customers' data.
        hide_parameters=True,
        connect_args=connect_args(
            DatabaseUrl.parse(url),
            name,
            # Statements and connecting have time-outs: no call hangs on the database.
            command_timeout=20,
            server_settings={"timezone": "UTC"},
            **(UNNAMED_STATEMENTS if behind_pooler else {}),
        ),
    )
    name_connection_errors(engine)
    discard_failed_connections(engine)
    replace_closed_connections(engine)
    return engine


async def check_pooler(config: ServiceSettings, name: ServiceName) -> None:
    """Raises UnsuitablePooler if the database's address demands DATABASE_POOLED."""
    url = DatabaseUrl.parse(config.database_url.get_secret_value())
    if config.database_pooled or await keeps_prepared_statements(url, str(name)):
        return
    raise UnsuitablePooler(
        f"{name.settings_prefix}DATABASE_URL leads to a connection pooler in transaction mode that"
        f" keeps no prepared statements: set {name.settings_prefix}DATABASE_POOLED=true"
    )


async def _no_check() -> None:
    pass


async def wait_until_ready(
    engine: AsyncEngine,
    name: ServiceName,
    seconds: float,
    check: Callable[[], Awaitable[None]] = _no_check,
) -> None:
    """Waits until the database is reachable and its schema serves this code.

    `check` runs first, when the database is reachable. Raises DatabaseNotReady, UnsafeRole, and
    what the check raises.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            await check()
            async with engine.connect() as connection:
                await check_schema(connection, name)
            await _refuse_unsafe_role(engine, name)
        except SchemaNotServing as error:
            problem = str(error)
        except (SQLAlchemyError, *DRIVER_ERRORS) as error:
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
