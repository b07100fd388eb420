"""Running stacks for tests/system and tests/acceptance: a shared one and a disruptable one."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from runtime import redaction
from shared_model.access_code import mask_access_codes
from tests.system.drivers.access_codes import wait_for_fresh_watermark
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import restore_components
from tests.system.drivers.stacks import started_stack

# As every process of the platform does when it starts.
redaction.add_rule(mask_access_codes)

_TESTS_WITH_STACKS = tuple(Path(__file__).parent / name for name in ("system", "acceptance"))


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Runs tests in the session's loop, in the main thread: stacks live as long as the session."""
    marker = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        has_stack = any(map(item.path.is_relative_to, _TESTS_WITH_STACKS))
        if has_stack and pytest_asyncio.is_async_test(item):
            item.add_marker(marker, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A running stack whose processes no test stops, suspends or kills."""
    async with started_stack(tmp_path_factory.mktemp("shared_stack")) as stack:
        yield stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _disruptable_stack(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningStack]:
    async with started_stack(tmp_path_factory.mktemp("disruptable_stack")) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def disruptable_stack(_disruptable_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """A running stack whose processes may be stopped, suspended and killed; restored afterwards."""
    await restore_components(_disruptable_stack)
    yield _disruptable_stack
    await restore_components(_disruptable_stack)


@pytest_asyncio.fixture(loop_scope="session")
async def stack_without_payment(_disruptable_stack: RunningStack) -> RunningStack:
    """The disruptable stack with payment stopped and interview's cached codes fresh.

    Interview has no open dead letters. Payment stays stopped until `disruptable_stack` restores it.
    """
    if _disruptable_stack.devstack.is_running("payment"):
        await restore_components(_disruptable_stack)
        await wait_for_fresh_watermark(_disruptable_stack)
        await _disruptable_stack.devstack.terminate("payment")
    async with _disruptable_stack.sql() as superuser:
        await superuser.execute("UPDATE interview.dead_letters SET resolution = 'DISCARDED'")
        await superuser.execute("UPDATE interview.payment_watermark SET covered_as_of = now()")
    return _disruptable_stack
