"""Running stacks for the tests from outside: one that is shared, one that may be disrupted."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from runtime import redaction
from shared_model.access_code import mask_access_codes
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import restore_components, settings

# As every program of the platform does at its start.
redaction.add_rule(mask_access_codes)

_FROM_OUTSIDE = tuple(Path(__file__).parent / name for name in ("system", "acceptance"))


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Stacks live as long as the session: so does the loop, and it runs in the main thread."""
    marker = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if any(map(item.path.is_relative_to, _FROM_OUTSIDE)) and pytest_asyncio.is_async_test(item):
            item.add_marker(marker, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A running stack that nobody disturbs."""
    directory = tmp_path_factory.mktemp("shared_stack")
    async with running(directory, settings(directory)) as stack, stack.connect() as clients:
        yield RunningStack(stack, clients)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _disruptable_stack(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningStack]:
    directory = tmp_path_factory.mktemp("disruptable_stack")
    async with running(directory, settings(directory)) as stack, stack.connect() as clients:
        yield RunningStack(stack, clients)


@pytest_asyncio.fixture(loop_scope="session")
async def disruptable_stack(_disruptable_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """A running stack whose parts may be stopped, suspended and killed; mended afterwards."""
    await restore_components(_disruptable_stack)
    yield _disruptable_stack
    await restore_components(_disruptable_stack)


@pytest_asyncio.fixture(loop_scope="session")
async def stack_without_payment(_disruptable_stack: RunningStack) -> RunningStack:
    """The same with payment stopped; interview has heard of it lately, and of nothing broken.

    It stays stopped for the next one: `disruptable_stack` mends it.
    """
    if _disruptable_stack.stack.is_running("payment"):
        await restore_components(_disruptable_stack)
        await _disruptable_stack.until_true(
            "SELECT now() - covered_as_of < interval '1 minute' FROM interview.payment_watermark"
        )
        await _disruptable_stack.stack.terminate("payment")
    async with _disruptable_stack.sql() as superuser:
        await superuser.execute("UPDATE interview.dead_letters SET resolution = 'DISCARDED'")
        await superuser.execute("UPDATE interview.payment_watermark SET covered_as_of = now()")
    return _disruptable_stack
