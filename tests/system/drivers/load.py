"""Concurrent customers while a test disturbs the stack, and the check that no effect is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from devstack.demo.journey import Journey
from devstack.polling import WaitTimedOut, wait_until
from devstack.servers.postgres import SERVICES
from tests.system.drivers.effects import STARTED, Effects
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.opsctl import opsctl
from tests.system.drivers.payments import pay_until_succeeded
from tests.system.drivers.running_stack import RunningStack

CONCURRENT_CUSTOMERS = 6
_STEPS_OF_A_JOURNEY = 4


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

    async def wait_for_steps(self, count: int, seconds: float = 90) -> None:
        """Waits until the customers have taken so many more steps."""
        goal = self.step_count + count

        async def is_reached() -> bool:
            return self.step_count >= goal

        await wait_until(is_reached, f"{count} more steps", seconds)

    async def wait_for_journeys(self, count: int, seconds: float = 90) -> None:
        """Waits until the customers have taken the steps of so many more journeys."""
        await self.wait_for_steps(count * _STEPS_OF_A_JOURNEY, seconds)

    async def check_effects(self) -> None:
        """Waits until every order has all its effects, each once; no event is a dead letter."""
        try:
            await wait_until(self._all_are_started, "the effects of every order", 60)
        except WaitTimedOut as error:
            raise WaitTimedOut(f"{error}: {await self._different()}") from None
        await self.stack.wait_until_idle()
        assert await self._different() == {}
        for service in SERVICES:
            count = f"SELECT count(*) FROM {service}.dead_letters WHERE key = ANY($1)"  # noqa: S608
            assert await self.stack.fetch_value(count, list(self.orders)) == 0

    async def _all_are_started(self) -> bool:
        return not await self._different()

    async def _different(self) -> dict[str, Effects]:
        effects = {order_id: await self.stack.effects(order_id) for order_id in self.orders}
        return {order_id: found for order_id, found in effects.items() if found != STARTED}


@asynccontextmanager
async def under_load(stack: RunningStack) -> AsyncIterator[Load]:
    """Customers come and go during the block; at its end every order has all its effects, once."""
    load = Load(stack)
    customers = asyncio.create_task(load.run())
    try:
        await load.wait_for_journeys(2)
        yield load
    finally:
        load.stopping = True
        await customers
    await load.check_effects()


async def check_consistency(stack: RunningStack) -> None:
    """`opsctl consistency`, which includes the bus, finds nothing to repair."""
    result = await opsctl(stack, "consistency")
    assert result.status == 0, result
