"""Validation beyond capacity: how many calls are answered within the deadline of interview."""

from bench.load import Load, LoadReport, generate_load
from bench.rounds import Comparison, Options, Series, alternate
from bench.seed import PaidOrder, paid_orders, store_orders
from bench.stack import bench_stack
from bench.validation import CALLERS, METHOD, SERVICE, requests, token
from devstack.stack import Stack

_DEADLINE_MS = 300
_CAPACITY = "capacity: 64 callers"
_GOALS = {1.5: 0.9, 4.0: 0.8, 20.0: 0.8}


async def run(options: Options) -> list[Comparison]:
    """OK replies per second at 1.5, 4 and 20 times the capacity, and right after the last."""
    orders = paid_orders(options.count(5_000))
    async with bench_stack(["postgres", "nats", "payment"]) as stack:
        await store_orders(stack, orders)

        async def call(load: Load) -> LoadReport:
            return await _call(stack, orders, load)

        async def closed_loop() -> float:
            return (await call(Load(options.seconds, CALLERS))).ok_per_second

        [capacity] = await alternate({_CAPACITY: closed_loop}, options.rounds)
        comparisons = [
            await _overloaded(stack, orders, capacity, factor, options) for factor in _GOALS
        ]
        [after] = await alternate({"64 callers after the overload": closed_loop}, 1)
    recovery = Comparison("Recovery", "OK/s", after, [capacity], {_CAPACITY: 0.9})
    return [*comparisons, recovery]


async def _overloaded(
    stack: Stack, orders: list[PaidOrder], capacity: Series, factor: float, options: Options
) -> Comparison:
    rate = max(1, round(capacity.median * factor))
    reports: list[LoadReport] = []

    async def goodput() -> float:
        load = Load(options.seconds, CALLERS, rate, _DEADLINE_MS)
        reports.append(await _call(stack, orders, load))
        return reports[-1].ok_per_second

    [ours] = await alternate({"payment": goodput}, options.rounds)
    last = reports[-1]
    codes = ", ".join(f"{code} {count:,}" for code, count in sorted(last.codes.items()))
    sent = sum(last.codes.values()) / options.seconds
    note = f"Last round: {sent:,.0f} calls/s sent; {codes}; p50 {last.latency_ms.get(50, 0):.0f} ms"
    return Comparison(
        f"{factor:g} times the capacity, deadline {_DEADLINE_MS} ms",
        "OK/s",
        ours,
        [capacity],
        {_CAPACITY: _GOALS[factor]},
        notes=[note],
    )


async def _call(stack: Stack, orders: list[PaidOrder], load: Load) -> LoadReport:
    return await generate_load(
        stack.address("payment"), SERVICE, METHOD, requests(orders), load, token(stack)
    )
