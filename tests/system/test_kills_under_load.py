"""Processes killed at random moments while customers order, pay and start: no effect is lost."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from tests.system.drivers.load import Load
from tests.system.drivers.running_stack import RunningStack


async def _kill_under_load(stack: RunningStack, components: Sequence[str]) -> Load:
    """Kills components one after the other under load; then every order has all its effects."""
    generator = random.Random()  # noqa: S311  moments, no secret
    load = Load(stack)

    async def kill() -> None:
        try:
            for component in components:
                await load.wait_for_steps(generator.randint(3, 12))
                await stack.devstack.kill(component)
                await stack.devstack.start(component)
            await load.wait_for_steps(8)
        finally:
            load.stopping = True

    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        group.create_task(kill())

    await load.check_effects()
    return load


def _mail_counts(load: Load) -> set[int]:
    """How many mails a customer has received."""
    return {len(load.stack.mails(journey)) for journey in load.orders.values()}


@pytest.mark.timeout(240)
async def test_payment_and_interview_killed_under_load(disruptable_stack: RunningStack) -> None:
    """Each customer receives one mail."""
    load = await _kill_under_load(disruptable_stack, ["payment", "interview"] * 3)
    assert _mail_counts(load) == {1}


@pytest.mark.timeout(240)
async def test_notification_killed_under_load(disruptable_stack: RunningStack) -> None:
    """A mail whose SENT was not committed may be sent twice, with the same Message-ID."""
    load = await _kill_under_load(disruptable_stack, ["notification"] * 4)
    for journey in load.orders.values():
        assert len({mail["Message-ID"] for mail in disruptable_stack.mails(journey)}) == 1


@pytest.mark.timeout(240)
async def test_the_broker_killed_under_load(disruptable_stack: RunningStack) -> None:
    """Services reconnect; events that cannot be published wait in the outbox."""
    load = await _kill_under_load(disruptable_stack, ["nats"] * 4)
    assert _mail_counts(load) == {1}


@pytest.mark.timeout(240)
async def test_postgresql_killed_under_load(disruptable_stack: RunningStack) -> None:
    """Services reconnect; a call that is cut off may be repeated."""
    load = await _kill_under_load(disruptable_stack, ["postgres"] * 4)
    assert _mail_counts(load) == {1}
