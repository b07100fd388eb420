"""The migrated schemas of the three services, without their processes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from devstack.servers.postgres import SERVICES
from devstack.stack import Stack
from runtime.database.migrate import upgrade
from runtime.service_name import ServiceName
from tests.integration.services.schemas import Schemas


@pytest.fixture(scope="session")
def migrated_stack(stack: Stack) -> Stack:
    """The servers, with the schema of every service."""
    for service in SERVICES:
        url = stack.database_url(f"{service}_owner")
        asyncio.run(upgrade(ServiceName(service).package, url))
    return stack


@pytest.fixture
async def schemas(migrated_stack: Stack) -> AsyncIterator[Schemas]:
    """The services' schemas; tests share them and use orders of their own."""
    opened = Schemas(migrated_stack)
    yield opened
    await opened.close()
