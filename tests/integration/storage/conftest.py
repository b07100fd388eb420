"""The schemas of the services on a real PostgreSQL, empty before each test."""

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from interview_svc.storage import tables as interview_tables
from notification_svc.storage import tables as notification_tables
from payment_svc.storage import tables as payment_tables
from tests.integration.drivers.databases import Databases, ServiceDatabase, open_databases

# The catalogue and the tables of one row are part of the schema.
_FILLED_BY_MIGRATIONS = {"products", "outbox_dropped", "payment_watermark"}
_TABLES = {
    table
    for module in (payment_tables, interview_tables, notification_tables)
    for table in module.metadata.tables.values()
    if table.name not in _FILLED_BY_MIGRATIONS
}


@pytest.fixture
async def databases(migrated_stack: Stack) -> AsyncIterator[Databases]:
    """The databases by service, without rows."""
    async with open_databases(migrated_stack) as opened:
        names = ", ".join(sorted(table.fullname for table in _TABLES))
        await opened["payment"].execute(f"TRUNCATE {names}")
        yield opened


@pytest.fixture
def payment(databases: Databases) -> ServiceDatabase:
    return databases["payment"]


@pytest.fixture
def interview(databases: Databases) -> ServiceDatabase:
    return databases["interview"]
