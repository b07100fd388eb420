"""interview's consumer: PaymentCompleted to sessions, against a bare loop and FastStream."""

from bench.processes import run_subject, settings_of
from bench.rounds import Comparison, Measure, Options, alternate
from bench.seed import superuser
from bench.stack import bench_stack
from devstack.stack import Stack
from eventbus.jetstream import connect

_EVENTS = 10_000
_BARE, _FASTSTREAM = "bare loop, the same four inserts per batch of 200", "FastStream, per message"
_TABLES = ("inbox", "cached_codes", "sessions", "outbox")


async def run(options: Options) -> list[Comparison]:
    """Each round handles as many events, into empty tables."""
    count = options.count(_EVENTS)
    async with bench_stack(["postgres", "nats"]) as stack:
        await stack.migrate("payment", "interview")
        subjects = {
            "consumer": _subject(stack, "consumer", count),
            _BARE: _subject(stack, "batch_consumer", count),
            _FASTSTREAM: _subject(stack, "faststream_consumer", count),
        }
        ours, *references = await alternate(subjects, options.rounds)
    title = f"PaymentCompleted to PREPARED, {count:,} events"
    goals = {_BARE: 0.75, _FASTSTREAM: 8.0}
    return [Comparison(title, "events/s", ours, references, goals)]


def _subject(stack: Stack, program: str, count: int) -> Measure:
    async def measure() -> float:
        await _empty_tables(stack)
        return await consume(stack, program, count)

    return measure


async def consume(stack: Stack, program: str, count: int) -> float:
    """Publishes new events and has a program of `bench.subjects` handle them; per second."""
    await _publish(stack, count)
    environment = {**settings_of(stack, "interview"), **_admin(stack)}
    result = await run_subject(program, environment, str(count), log=stack.log(program))
    return count / float(result["seconds"])


async def _empty_tables(stack: Stack) -> None:
    tables = ", ".join(f"interview.{name}" for name in _TABLES)
    async with superuser(stack) as connection:
        await connection.execute(f"TRUNCATE {tables}")


async def _publish(stack: Stack, count: int) -> None:
    """Empties the stream and publishes new events."""
    admin = await connect(stack.nats_login("admin"), "bench", seconds=10)
    manager = admin.jetstream()
    await manager.purge_stream("PAYMENT")
    if "faststream" in [info.name for info in await manager.consumers_info("PAYMENT")]:
        await manager.delete_consumer("PAYMENT", "faststream")
    await admin.close()
    environment = settings_of(stack, "payment")
    log = stack.log("publisher")
    await run_subject("batch_publisher", environment, str(count), log=log)


def _admin(stack: Stack) -> dict[str, str]:
    """For a peer that creates its own durable consumer."""
    return {"NATS_URL": stack.nats_login("admin").url}
