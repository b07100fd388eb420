"""The relay: events per second from the outbox to JetStream, against bare atomic batches."""

from bench.processes import run_subject, settings_of
from bench.rounds import Comparison, Options, alternate
from bench.seed import fill_outbox, paid_orders
from bench.stack import bench_stack
from devstack.stack import Stack

_EVENTS = 20_000
_BARE = "bare atomic batches of 500"


async def run(options: Options) -> list[Comparison]:
    """Each round publishes as many new events."""
    count = options.count(_EVENTS)
    async with bench_stack(["postgres", "nats"]) as stack:
        await stack.migrate("payment")

        async def ours() -> float:
            return await publish(stack, count)

        async def bare() -> float:
            environment, log = settings_of(stack, "payment"), stack.log("bare")
            result = await run_subject("batch_publisher", environment, str(count), log=log)
            return count / float(result["seconds"])

        relay, limit = await alternate({"relay": ours, _BARE: bare}, options.rounds)
    title = f"Outbox to JetStream, {count:,} events"
    return [Comparison(title, "events/s", relay, [limit], {_BARE: 0.75})]


async def publish(stack: Stack, count: int) -> float:
    """Fills the outbox and empties it by the relay; events per second."""
    await fill_outbox(stack, [order.event() for order in paid_orders(count)])
    result = await run_subject("relay", settings_of(stack, "payment"), log=stack.log("relay"))
    return count / float(result["seconds"])
