"""ValidateAccessCode by one process of payment and by two that share an address."""

import os

from bench.load import Load, generate_load
from bench.processes import running_payment, settings_of
from bench.rounds import Comparison, Measure, Options, alternate
from bench.seed import paid_orders, store_orders
from bench.stack import bench_stack
from bench.validation import CALLERS, METHOD, SERVICE, requests, token

_ONE = "one process"
# The kernel gives each connection to one process: with two of them, both may go to the same.
_CONNECTIONS = 16
_NOTE = (
    "The client and PostgreSQL take their share of the same {} cores: with as many processes as"
    " cores, the figure is what the machine has left for the second one."
)


async def run(options: Options) -> list[Comparison]:
    """Throughput over 16 connections."""
    orders = paid_orders(options.count(5_000))
    load = Load(options.seconds, CALLERS, connections=_CONNECTIONS)
    async with bench_stack(["postgres", "nats", "payment"]) as stack:
        await store_orders(stack, orders)
        environment = settings_of(stack, "payment")

        def measure(address: str) -> Measure:
            async def throughput() -> float:
                report = await generate_load(
                    address, SERVICE, METHOD, requests(orders), load, token(stack)
                )
                return report.ok_per_second

            return throughput

        async with (
            running_payment(environment, 2, stack.log("two")) as two,
            running_payment(environment, 1, stack.log("one")) as one,
        ):
            subjects = {"two processes": measure(two), _ONE: measure(one)}
            ours, single = await alternate(subjects, options.rounds)
    title = f"{METHOD}, {CALLERS} callers, {_CONNECTIONS} connections"
    notes = [_NOTE.format(os.cpu_count())]
    return [Comparison(title, "calls/s", ours, [single], {_ONE: 1.8}, notes=notes)]
