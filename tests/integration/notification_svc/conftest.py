"""notification's schema for each test, with its mails and events."""

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from tests.integration.drivers.databases import open_database
from tests.integration.notification_svc.mailing import Mailing

_TABLES = (
    "notifications",
    "claim_holders",
    "code_versions",
    "suppressions",
    "mail_preferences",
    "outbox",
)


@pytest.fixture
async def mailing(migrated_stack: Stack, servers: Stack) -> AsyncIterator[Mailing]:
    """Notification without a process: events come in by calls, mails go to a fake transport."""
    del servers  # restores a server that the test stopped
    async with open_database(migrated_stack, "notification", _TABLES) as database:
        yield Mailing(database)
