"""The migrated schemas of the three services, without their processes."""

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from tests.integration.drivers.databases import Databases, open_databases


@pytest.fixture
async def databases(migrated_stack: Stack) -> AsyncIterator[Databases]:
    """The databases by service; tests share them and use orders of their own."""
    async with open_databases(migrated_stack) as opened:
        yield opened
