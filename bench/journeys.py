"""Whole journeys: latency of one at a time, and orders that are created and paid per second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

import asyncpg

from bench.in_line import InLine, create_order, pay_order
from bench.rounds import Comparison, Measure, Options, alternate
from bench.seed import paid_orders, superuser
from bench.stack import bench_stack
from clients import Clients
from devstack.demo.journey import Journey
from devstack.demo.mails import mails_to
from devstack.stack import Stack

_JOURNEYS = 40
_ORDERS = 400
_CALLERS = 16
_POLL_SECONDS = 0.001
_IN_LINE = "the same commits and publishes in a line"
_RAW = "the same four commits by asyncpg"


async def run_latency(options: Options) -> list[Comparison]:
    """Milliseconds from CreatePayment to the prepared session, and to the accepted mail."""
    count = options.count(_JOURNEYS)
    async with bench_stack() as stack, stack.connect() as clients, InLine(stack) as in_line:
        async with superuser(stack) as database:
            prepared = await alternate(
                {
                    "pay → PREPARED": _journeys(stack, clients, count, _is_prepared(database)),
                    _IN_LINE: _in_line(in_line, count, in_line.prepared),
                },
                options.rounds,
            )
        mailed = await alternate(
            {
                "pay → mail accepted": _journeys(stack, clients, count, _is_mailed(stack)),
                _IN_LINE: _in_line(in_line, count, in_line.mailed),
            },
            options.rounds,
        )
    return [
        Comparison(ours.name, "ms, median of a round", ours, [limit], {_IN_LINE: goal}, False)
        for (ours, limit), goal in ((prepared, 2.0), (mailed, 2.5))
    ]


async def run_orders(options: Options) -> list[Comparison]:
    """CreateOrder and CreatePayment by concurrent callers."""
    count = options.count(_ORDERS)
    async with bench_stack() as stack, stack.connect() as clients:
        url = stack.superuser_url.replace("postgresql+asyncpg", "postgresql")

        async def ours(_: int) -> None:
            await Journey(clients, stack.mail_dir).paid_order()

        async def measure_ours() -> float:
            return await _rate(ours, count)

        async def measure_raw() -> float:
            orders = paid_orders(count)
            async with asyncpg.create_pool(url, min_size=_CALLERS, max_size=_CALLERS) as pool:

                async def raw(number: int) -> None:
                    async with pool.acquire() as connection:
                        await create_order(connection, orders[number])
                        await pay_order(connection, orders[number])

                return await _rate(raw, count)

        payment, limit = await alternate(
            {"CreateOrder + CreatePayment": measure_ours, _RAW: measure_raw}, options.rounds
        )
    title = f"Paid orders, {_CALLERS} callers, {count} orders"
    return [Comparison(title, "orders/s", payment, [limit], {_RAW: 0.35})]


Condition = Callable[[str, Journey], Awaitable[bool]]


def _journeys(stack: Stack, clients: Clients, count: int, condition: Condition) -> Measure:
    async def measure() -> float:
        milliseconds = []
        for _ in range(count):
            journey = Journey(clients, stack.mail_dir)
            order = await journey.order()
            started = time.perf_counter()
            await journey.pay(order.order_id)
            await _wait(condition, order.order_id, journey)
            milliseconds.append((time.perf_counter() - started) * 1000)
        return median(milliseconds)

    return measure


async def _wait(condition: Condition, order_id: str, journey: Journey) -> None:
    """Checks every millisecond: finer than `wait_until`, for what takes some of them."""
    while not await condition(order_id, journey):  # noqa: ASYNC110  another process sets it
        await asyncio.sleep(_POLL_SECONDS)


def _in_line(in_line: InLine, count: int, steps: Callable[..., Awaitable[None]]) -> Measure:
    async def measure() -> float:
        milliseconds = []
        for _ in range(count):
            order = await in_line.order()
            started = time.perf_counter()
            await steps(order)
            milliseconds.append((time.perf_counter() - started) * 1000)
        return median(milliseconds)

    return measure


def _is_prepared(database: asyncpg.Connection) -> Condition:
    async def check(order_id: str, _journey: Journey) -> bool:
        query = "SELECT EXISTS (SELECT FROM interview.sessions WHERE order_id = $1)"
        return bool(await database.fetchval(query, order_id))

    return check


def _is_mailed(stack: Stack) -> Condition:
    async def check(_order_id: str, journey: Journey) -> bool:
        return bool(mails_to(stack.mail_dir, journey.email))

    return check


async def _rate(work: Callable[[int], Awaitable[None]], count: int) -> float:
    """Pieces of work per second, done by concurrent callers."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return count / (time.perf_counter() - started)
