"""The migrated schemas of the three services, without their processes."""

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from tests.integration.services.schemas import Schemas


@pytest.fixture
async def schemas(migrated_stack: Stack) -> AsyncIterator[Schemas]:
    """The services' schemas; tests share them and use orders of their own."""
    opened = Schemas(migrated_stack)
    yield opened
    await opened.close()
