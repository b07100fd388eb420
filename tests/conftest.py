"""Running stacks for tests/system and tests/acceptance: a shared one and a disruptable one."""

import os
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings

from runtime import redaction
from shared_model.access_code import mask_access_codes
from tests.system.drivers.access_codes import wait_for_fresh_watermark
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import restore, resume, suspend
from tests.system.drivers.stacks import started_stack

# The tests' own channels are plain ones of gRPC, which would use proxies of the environment.
for _name in ("grpc_proxy", "https_proxy", "http_proxy"):
    os.environ.pop(_name, None)
# Examples have no time limit: how fast a loaded machine is proves nothing.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
# As every process of the platform does when it starts.
redaction.add_rule(mask_access_codes)

_TESTS_WITH_STACKS = tuple(Path(__file__).parent / name for name in ("system", "acceptance"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs tests with stacks in the session's loop, and orders files for an even load.

    Stacks live as long as the session, in the main thread. Files that need no stack come first,
    then those without the shared stack, which is never suspended and takes a tenth of a processor;
    among these, files with many tests come first, so that all workers end at the same time.
    """
    marker = pytest.mark.asyncio(loop_scope="session")
    files: defaultdict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        files[item.path].append(item)
        if _has_stack(item.path) and pytest_asyncio.is_async_test(item):
            item.add_marker(marker, append=False)

    def order(path: Path) -> tuple[bool, bool, int]:
        shared = any("shared_stack" in getattr(test, "fixturenames", ()) for test in files[path])
        return _has_stack(path), shared, -len(files[path])

    items[:] = [item for path in sorted(files, key=order) for item in files[path]]


def _has_stack(path: Path) -> bool:
    return any(map(path.is_relative_to, _TESTS_WITH_STACKS))


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
        resume(stack)


@pytest_asyncio.fixture(loop_scope="session")
async def disruptable_stack(_disruptable_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """A running stack whose processes may be stopped, suspended and killed.

    It is restored before each test, and suspended between tests.
    """
    await restore(_disruptable_stack)
    yield _disruptable_stack
    suspend(_disruptable_stack)


@pytest_asyncio.fixture(loop_scope="session")
async def stack_without_interview(_disruptable_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """The disruptable stack with interview stopped."""
    await restore(_disruptable_stack, without="interview")
    yield _disruptable_stack
    suspend(_disruptable_stack)


@pytest_asyncio.fixture(loop_scope="session")
async def stack_without_payment(_disruptable_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """The disruptable stack with payment stopped, fresh cached codes and no open dead letters."""
    if _disruptable_stack.devstack.is_running("payment"):
        await restore(_disruptable_stack)
        await wait_for_fresh_watermark(_disruptable_stack)
    await restore(_disruptable_stack, without="payment")
    async with _disruptable_stack.sql() as superuser:
        await superuser.execute("UPDATE interview.dead_letters SET resolution = 'DISCARDED'")
        await superuser.execute("UPDATE interview.payment_watermark SET covered_as_of = now()")
    yield _disruptable_stack
    suspend(_disruptable_stack)
