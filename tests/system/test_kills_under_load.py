"""Processes killed at random moments while customers order, pay and start: no effect is lost."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from devstack.demo.journey import Journey
from devstack.polling import WaitTimedOut, wait_until
from tests.system.drivers.effects import STARTED
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.payments import pay_until_succeeded
from tests.system.drivers.running_stack import RunningStack

SERVICES = ("payment", "interview", "notification")
CONCURRENT_CUSTOMERS = 6


@dataclass
class Load:
    """Concurrent customers, each followed by another; they repeat failed calls until it works."""

    stack: RunningStack
    orders: dict[str, Journey] = field(default_factory=dict)
    step_count: int = 0
    stopping: bool = False

    async def run(self) -> None:
        """Returns after `stopping` is set and every customer has started the interview."""
        async with asyncio.TaskGroup() as customers:
            for _ in range(CONCURRENT_CUSTOMERS):
                customers.create_task(self._take_journeys())

    async def _take_journeys(self) -> None:
        while not self.stopping:
            await self._take_journey(self.stack.journey())

    async def _take_journey(self, journey: Journey) -> None:
        order_id = (await retry(journey.order, "an order")).order_id
        self.orders[order_id] = journey
        self.step_count += 1
        await pay_until_succeeded(journey, order_id)
        self.step_count += 1
        code = await journey.wait_for_mailed_code()
        self.step_count += 1
        await retry(lambda: journey.start(code), f"the interview of {order_id}")
        self.step_count += 1

    async def wait_for_steps(self, count: int) -> None:
        """Waits until the customers have taken so many more steps."""
        goal = self.step_count + count

        async def is_reached() -> bool:
            return self.step_count >= goal

        await wait_until(is_reached, f"{count} more steps", 90)


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

    async def all_are_started() -> bool:
        return {await stack.effects(order_id) for order_id in load.orders} == {STARTED}

    try:
        await wait_until(all_are_started, "the effects of every order", 60)
    except WaitTimedOut as error:
        effects = {order_id: await stack.effects(order_id) for order_id in load.orders}
        different = {order_id: found for order_id, found in effects.items() if found != STARTED}
        raise WaitTimedOut(f"{error}: {different}") from None
    await stack.wait_until_idle()
    assert await all_are_started()
    for service in SERVICES:
        count = f"SELECT count(*) FROM {service}.dead_letters WHERE key = ANY($1)"  # noqa: S608
        assert await stack.fetch_value(count, list(load.orders)) == 0
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
