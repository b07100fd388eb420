"""Stacks for the tests from outside: each worker has one to look at, and one to be rough with."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from devstack.clients import Clients
from tests.system.drivers.running_stack import Outside
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import mend, settings

_FROM_OUTSIDE = tuple(Path(__file__).parent / name for name in ("system", "acceptance"))


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Stacks live as long as the session: so does the loop, and it runs in the main thread."""
    marker = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if any(map(item.path.is_relative_to, _FROM_OUTSIDE)) and pytest_asyncio.is_async_test(item):
            item.add_marker(marker, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def calm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outside]:
    """A running stack that nobody disturbs."""
    directory = tmp_path_factory.mktemp("calm")
    async with running(directory, settings(directory)) as stack, Clients(stack) as clients:
        yield Outside(stack, clients)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _rough(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outside]:
    directory = tmp_path_factory.mktemp("rough")
    async with running(directory, settings(directory)) as stack, Clients(stack) as clients:
        yield Outside(stack, clients)


@pytest_asyncio.fixture(loop_scope="session")
async def rough(_rough: Outside) -> AsyncIterator[Outside]:
    """A running stack whose parts may be stopped, suspended and killed; mended afterwards."""
    await mend(_rough)
    yield _rough
    await mend(_rough)


@pytest_asyncio.fixture(loop_scope="session")
async def alone(_rough: Outside) -> Outside:
    """The same with payment stopped; interview has heard of it lately, and of nothing broken.

    It stays stopped for the next one: `rough` mends it.
    """
    if _rough.stack.is_running("payment"):
        await mend(_rough)
        await _rough.until_true(
            "SELECT now() - covered_as_of < interval '1 minute' FROM interview.payment_watermark"
        )
        await _rough.stack.terminate("payment")
    async with _rough.sql() as superuser:
        await superuser.execute("UPDATE interview.dead_letters SET resolution = 'DISCARDED'")
        await superuser.execute("UPDATE interview.payment_watermark SET covered_as_of = now()")
    return _rough
