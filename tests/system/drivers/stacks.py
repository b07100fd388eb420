"""Starts a stack for tests, with settings of its own where they need them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import settings


@asynccontextmanager
async def started_stack(
    directory: Path, changes: Mapping[str, Mapping[str, str]] | None = None
) -> AsyncIterator[RunningStack]:
    """A running stack with the tests' settings.

    `changes` adds environment variables of single components, or replaces some.
    """
    stack_settings = settings(directory)
    environment = {
        component: {**variables, **(changes or {}).get(component, {})}
        for component, variables in stack_settings.environment.items()
    }
    stack_settings = replace(stack_settings, environment=environment)
    async with running(directory, stack_settings) as stack, stack.connect() as clients:
        yield RunningStack(stack, clients)


@asynccontextmanager
async def changed_settings(
    stack: RunningStack, changes: Mapping[str, Mapping[str, str]]
) -> AsyncIterator[None]:
    """Restarts components with other environment variables, and afterwards with their own.

    That takes a third of the time of a stack of their own.
    """
    own = stack.devstack.settings.environment
    changed = {name: {**own.get(name, {}), **variables} for name, variables in changes.items()}
    await _restart(stack, changes, {**own, **changed})
    try:
        yield
    finally:
        await _restart(stack, changes, own)


async def _restart(
    stack: RunningStack, components: Iterable[str], environment: Mapping[str, Mapping[str, str]]
) -> None:
    devstack = stack.devstack
    devstack.settings = replace(devstack.settings, environment=environment)
    for component in components:
        await devstack.terminate(component)
    for component in components:
        await devstack.start(component)
