"""Growth: the hot paths with a hundred times the history behind them."""

from collections.abc import Mapping
from importlib.resources import files

from bench.consumer import consume
from bench.load import Load, generate_load
from bench.relay import publish
from bench.rounds import Comparison, Measure, Options, alternate
from bench.seed import PaidOrder, paid_orders, store_orders, superuser
from bench.stack import bench_stack
from bench.validation import CALLERS, METHOD, SERVICE, requests, token
from devstack.stack import Stack

_SMALL, _LARGE = 10_000, 1_000_000
_EVENTS = 5_000
_GOAL = 1 / 1.1

_HISTORY = files("bench").joinpath("history.sql").read_text("utf-8").split(";\n")


async def run(options: Options) -> list[Comparison]:
    """Each figure with many rows, divided by the same with few."""
    sizes = (options.count(_SMALL), options.count(_LARGE))
    components = ["postgres", "nats", "payment"]
    async with bench_stack(components) as small, bench_stack(components) as large:
        stacks = {
            f"{size:,} rows": stack for size, stack in zip(sizes, (small, large), strict=True)
        }
        orders = paid_orders(options.count(5_000))
        for size, stack in zip(sizes, (small, large), strict=True):
            await stack.migrate("interview")
            await _add_history(stack, size)
            await store_orders(stack, orders)
        validation = await _compare(f"{METHOD}, {CALLERS} callers", stacks, options, orders)
        # The service's own relay would compete with the measured one.
        for stack in stacks.values():
            await stack.terminate("payment")
        bus = [await _compare(title, stacks, options, orders) for title in ("relay", "consumer")]
    return [validation, *bus]


async def _compare(
    title: str, stacks: Mapping[str, Stack], options: Options, orders: list[PaidOrder]
) -> Comparison:
    subjects = {name: _subject(title, stack, options, orders) for name, stack in stacks.items()}
    few, many = await alternate(subjects, options.rounds)
    return Comparison(title, "per second", many, [few], {few.name: _GOAL})


def _subject(title: str, stack: Stack, options: Options, orders: list[PaidOrder]) -> Measure:
    async def measure() -> float:
        match title:
            case "relay":
                return await publish(stack, options.count(_EVENTS))
            case "consumer":
                return await consume(stack, "consumer", options.count(_EVENTS))
        load = Load(options.seconds, CALLERS)
        address, calls = stack.address("payment"), requests(orders)
        report = await generate_load(address, SERVICE, METHOD, calls, load, token(stack))
        return report.ok_per_second

    return measure


async def _add_history(stack: Stack, rows: int) -> None:
    async with superuser(stack) as connection:
        for statement in filter(str.strip, _HISTORY):
            await connection.execute(statement, rows)
        await connection.execute("VACUUM ANALYZE")
