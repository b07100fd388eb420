"""interview's schema for each test."""

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from tests.integration.drivers.databases import ServiceDatabase, open_database

_TABLES = ("cached_codes", "sessions", "dead_letters", "pending_watermarks", "outbox")
_RESET = (
    "UPDATE interview.payment_watermark SET as_of = 'epoch', stream_sequence = 0,"
    " covered_as_of = NULL, warmed_up_at = NULL"
)


@pytest.fixture
async def schema(migrated_stack: Stack, servers: Stack) -> AsyncIterator[ServiceDatabase]:
    """Interview's schema without a process."""
    del servers  # restores a server that the test stopped
    async with open_database(migrated_stack, "interview", _TABLES) as database:
        await database.execute(_RESET)
        yield database
        await database.execute(_RESET)
