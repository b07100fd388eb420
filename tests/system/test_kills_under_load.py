"""Kills at random moments while customers order, pay and start: nothing lost, nothing doubled."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from devstack.demo.journey import Journey
from devstack.polling import wait_until
from tests.system.drivers.running_stack import STARTED, Effects, RunningStack, paid_for_sure, retry

_CUSTOMERS_AT_ONCE = 6


@dataclass
class Load:
    """Customers who come one after the other until it is enough, and never give up."""

    outside: RunningStack
    orders: dict[str, Journey] = field(default_factory=dict)
    steps: int = 0
    enough: bool = False

    async def run(self) -> None:
        """Returns when every customer who came has started the interview."""
        async with asyncio.TaskGroup() as customers:
            for _ in range(_CUSTOMERS_AT_ONCE):
                customers.create_task(self._customers())

    async def _customers(self) -> None:
        while not self.enough:
            await self._journey(self.outside.journey())

    async def _journey(self, journey: Journey) -> None:
        order_id = (await retry(journey.order, "an order")).order_id
        self.orders[order_id] = journey
        self.steps += 1
        await paid_for_sure(journey, order_id)
        self.steps += 1
        code = await journey.code_from_mail()
        self.steps += 1
        await retry(lambda: journey.start(code), f"the interview of {order_id}")
        self.steps += 1

    async def goes_on(self, steps: int) -> None:
        """Waits until the customers have got so much further."""
        goal = self.steps + steps

        async def look() -> bool:
            return self.steps >= goal

        await wait_until(look, f"{steps} more steps", 90)


async def _survive(outside: RunningStack, victims: Sequence[str]) -> Load:
    """Kills one after the other under load; then every order has come to its end."""
    chance = random.Random()  # noqa: S311  moments, no secret
    load = Load(outside)

    async def disturb() -> None:
        try:
            for victim in victims:
                await load.goes_on(chance.randint(3, 12))
                await outside.stack.kill(victim)
                await outside.stack.start(victim)
            await load.goes_on(8)
        finally:
            load.enough = True

    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        group.create_task(disturb())

    async def all_started() -> bool:
        return {await outside.effects(order_id) for order_id in load.orders} == {STARTED}

    try:
        await wait_until(all_started, "every order at its end", 60)
    except AssertionError as error:
        found = {order_id: await outside.effects(order_id) for order_id in load.orders}
        odd: dict[str, Effects] = {one: seen for one, seen in found.items() if seen != STARTED}
        raise AssertionError(f"{error}: {odd}") from None
    await outside.wait_until_idle()
    assert await all_started()
    for service in ("payment", "interview", "notification"):
        dead = f"SELECT count(*) FROM {service}.dead_letters WHERE key = ANY($1)"  # noqa: S608
        assert await outside.value(dead, list(load.orders)) == 0
    return load


def _mails_of_each(load: Load) -> set[int]:
    return {len(load.outside.mails(journey)) for journey in load.orders.values()}


@pytest.mark.timeout(240)
async def test_services_killed_under_load_lose_nothing(disruptable_stack: RunningStack) -> None:
    """Both killed at random moments; one mail each."""
    load = await _survive(disruptable_stack, ["payment", "interview"] * 3)
    assert _mails_of_each(load) == {1}


@pytest.mark.timeout(240)
async def test_notification_killed_under_load_loses_no_mail(
    disruptable_stack: RunningStack,
) -> None:
    """A mail whose SENT was not recorded may come twice, as the same mail."""
    load = await _survive(disruptable_stack, ["notification"] * 4)
    for journey in load.orders.values():
        assert len({mail["Message-ID"] for mail in disruptable_stack.mails(journey)}) == 1


@pytest.mark.timeout(240)
async def test_the_broker_killed_under_load_loses_nothing(disruptable_stack: RunningStack) -> None:
    """Services reconnect by themselves, and what they couldn't publish waits in the outbox."""
    load = await _survive(disruptable_stack, ["nats"] * 4)
    assert _mails_of_each(load) == {1}


@pytest.mark.timeout(240)
async def test_postgresql_killed_under_load_loses_nothing(disruptable_stack: RunningStack) -> None:
    """Services reconnect by themselves; a call in flight may be repeated."""
    load = await _survive(disruptable_stack, ["postgres"] * 4)
    assert _mails_of_each(load) == {1}
