"""Customers who take whole journeys all the time: order, payment, mail, interview or refund."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from itertools import cycle
from typing import Any

import grpc

from devstack.demo.journey import Journey
from devstack.demo.mails import access_code_in
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2
from tests.deploy.upgrades.mailbox import Mailbox
from tests.system.drivers.effects import PAID, STARTED, Effects
from tests.system.drivers.interviews import Interview
from tests.system.drivers.refunds import create_refund, wait_for_refund
from tests.system.drivers.running_stack import RunningStack

CUSTOMERS = 3
ANSWERS = 2
# The interview was held and is completed.
INTERVIEWED = replace(STARTED, started=0)
# The order is paid and refunded; a mail tells each.
REFUNDED = replace(PAID, notifications=2, sent=2)


@dataclass
class Load:
    """Concurrent customers, each followed by another; each call that fails ends a journey."""

    stack: RunningStack
    mailbox: Mailbox
    completed: dict[str, tuple[Journey, Effects]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        """Returns after `stopping` is set and every customer has ended the journey."""
        async with asyncio.TaskGroup() as customers:
            for number in range(CUSTOMERS):
                customers.create_task(self._take_journeys(number))

    async def wait_for_journeys(self, count: int) -> None:
        """Waits until so many more journeys are complete."""
        goal = len(self.completed) + count

        async def is_reached() -> bool:
            return len(self.completed) >= goal

        await wait_until(is_reached, f"{count} more journeys; broken: {self.broken}", 90)

    async def _take_journeys(self, number: int) -> None:
        kinds = cycle([self._interview, self._refund, self._declined_at_first])
        for _ in range(number):
            next(kinds)
        for take in kinds:
            if self.stopping:
                return
            await self._take(take, self.stack.journey())

    async def _take(
        self, take: Callable[[Journey], Coroutine[Any, Any, tuple[str, Effects]]], journey: Journey
    ) -> None:
        try:
            order_id, effects = await take(journey)
        except (AssertionError, grpc.aio.AioRpcError) as error:
            self.broken.append(f"{journey.name}: {error}")
        else:
            self.completed[order_id] = journey, effects

    async def _interview(self, journey: Journey) -> tuple[str, Effects]:
        order_id = (await journey.order()).order_id
        await self._hold_interview(journey, order_id)
        return order_id, INTERVIEWED

    async def _declined_at_first(self, journey: Journey) -> tuple[str, Effects]:
        order_id = (await journey.order()).order_id
        declined = await journey.pay(order_id, "sandbox_decline")
        assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
        await self._hold_interview(journey, order_id)
        return order_id, INTERVIEWED

    async def _hold_interview(self, journey: Journey, order_id: str) -> None:
        await _pay(journey, order_id)
        code = await self._mailed_code(journey)
        interview = Interview(self.stack, await journey.start(code))
        for _ in range(ANSWERS):
            question = await interview.next_question()
            assert question is not None
            await interview.answer(question.question_id)
        await interview.complete()
        await journey.wait_for_redemption(order_id)

    async def _refund(self, journey: Journey) -> tuple[str, Effects]:
        order_id = (await journey.order()).order_id
        await _pay(journey, order_id)
        await self._mailed_code(journey)
        await journey.wait_for_session(order_id)
        refund = await create_refund(self.stack, order_id, request_id=f"{journey.name}-refund")
        await wait_for_refund(self.stack, refund, "SUCCEEDED")
        return order_id, REFUNDED

    async def _mailed_code(self, journey: Journey) -> str:
        async def find() -> EmailMessage | None:
            return next(iter(self.mailbox.mails_to(journey.email)), None)

        return access_code_in(await wait_until(find, f"a mail to {journey.email}", 60))


async def _pay(journey: Journey, order_id: str) -> None:
    async def is_paid() -> bool:
        payment = await journey.pay(order_id)
        return payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED

    await wait_until(is_paid, f"{order_id} paid", 60)
