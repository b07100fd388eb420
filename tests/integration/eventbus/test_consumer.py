"""Each event has exactly one effect, in batches, with replicas, and when a consumer stops."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from devstack.polling import wait_until
from eventbus import IncomingEvent, Outbox
from tests.fakes.broker import RecordingConsumer
from tests.integration.drivers.bus import Bus, assert_each_once
from tests.integration.drivers.failing_handlers import FailFor, HandlerError
from tests.integration.drivers.worker_runner import running


async def test_an_effect_and_its_inbox_mark_commit_together(bus: Bus) -> None:
    event = bus.event("ord_1")
    await bus.send(event)
    assert await bus.deliver(bus.consumer(), 1)
    assert await bus.effect_ids() == [event.id]
    [mark] = await bus.rows(bus.tables.inbox)
    assert (mark["consumer"], mark["event_id"], mark["state"]) == ("listener", event.id, "HANDLED")
    assert (mark["key"], mark["stream_sequence"]) == ("ord_1", 1)


async def test_a_handler_that_raises_leaves_no_effect_and_no_mark(bus: Bus) -> None:
    """The handler raises after it has written its effect."""
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver(bus.consumer(bus.handler(FailFor(event))), 1)
    assert await bus.effect_ids() == []
    assert await bus.marks() == {}


async def test_events_published_by_a_handler_commit_with_its_effect_or_not_at_all(bus: Bus) -> None:
    caused = bus.event("a", name="Caused")
    fails = [True]

    async def handler(connection: AsyncConnection, _batch: Sequence[IncomingEvent]) -> None:
        await Outbox(bus.tables).publish(connection, [caused])
        if fails[0]:
            raise HandlerError

    await bus.send(bus.event("a"))
    consumer = bus.consumer(handler)
    await bus.deliver(consumer, 1)
    assert await bus.unpublished() == []
    fails[0] = False
    await bus.deliver(consumer, 1)
    assert await bus.unpublished() == [caused.id]


async def test_a_message_is_acknowledged_only_after_its_effect_has_committed(bus: Bus) -> None:
    """No acknowledgement is sent while the handler runs, or if it fails."""
    event, answers = bus.event("a"), RecordingConsumer(bus.pull_consumer())

    async def fail(_: IncomingEvent) -> None:
        assert answers.acked == []
        raise HandlerError

    await bus.send(event)
    await bus.deliver(bus.consumer(bus.handler(fail), pull_consumer=answers), 1)
    assert answers.acked == []
    await bus.deliver(bus.consumer(pull_consumer=answers), 1)
    assert answers.acked == [1]


async def test_a_message_whose_acknowledgement_is_lost_has_one_effect(bus: Bus) -> None:
    await bus.declare_consumer("impatient", ack_wait_seconds=1)
    events = bus.events(5)
    await bus.send(*events)
    lost = RecordingConsumer(bus.pull_consumer("impatient"), lost=True)
    await bus.deliver(bus.consumer(pull_consumer=lost), 5)
    other = bus.consumer(pull_consumer=bus.pull_consumer("impatient"))
    await bus.deliver(other, 5)
    assert_each_once(await bus.effect_ids(), events)
    await bus.wait_all_answered(other.pull_consumer)


async def test_a_delivery_handled_twice_has_one_effect(bus: Bus) -> None:
    events = bus.events(3)
    await bus.send(*events)
    consumer = bus.consumer()
    messages = await bus.fetch(3)
    await consumer.handle(messages)
    await consumer.handle(messages)
    await consumer.handle([replace(message, delivery_count=2) for message in messages])
    assert_each_once(await bus.effect_ids(), events)


async def test_an_event_that_is_in_a_batch_twice_has_one_effect(bus: Bus) -> None:
    event, other = bus.event("a"), bus.event("b")
    await bus.send(event, other)
    await bus.send_copy(event)
    answers = RecordingConsumer(bus.pull_consumer())
    await bus.deliver(bus.consumer(pull_consumer=answers), 3)
    assert_each_once(await bus.effect_ids(), [event, other])
    assert answers.acked == [1, 2, 3]


async def test_each_of_two_consumers_handles_an_event(bus: Bus) -> None:
    """The inbox is per consumer: a service may have several."""
    event = bus.event("a")
    await bus.declare_consumer("second")
    await bus.send(event)
    await bus.deliver(bus.consumer(), 1)
    await bus.deliver(bus.consumer(pull_consumer=bus.pull_consumer("second")), 1)
    assert await bus.effect_ids() == [event.id, event.id]


async def test_events_of_a_key_are_handled_in_the_order_of_their_versions(bus: Bus) -> None:
    """Redelivery may reorder messages; within a batch, versions decide."""
    versions = [3, 1, 4, 2, 5]
    events = {version: bus.event("ord_1", version) for version in versions}
    others = [bus.event(f"k{n}", 1) for n in range(3)]
    await bus.send(*events.values(), *others)
    handler = bus.handler()
    await bus.deliver(bus.consumer(handler), 8)
    handled = [row["version"] for row in await bus.rows(bus.effects, key="ord_1")]
    assert handled == [1, 2, 3, 4, 5]
    assert len(handler.batches) == 5


async def test_an_event_published_by_a_handler_continues_the_trace_of_its_cause(bus: Bus) -> None:
    """Also in a batch, where each event has its own trace."""
    causes = [bus.event(f"ord_{n}", traceparent=f"00-{n:032x}-{'a' * 16}-01") for n in range(1, 4)]

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        caused = [bus.event(incoming.event.key, name="Caused") for incoming in batch]
        await Outbox(bus.tables).publish(connection, caused)

    await bus.send(*causes)
    await bus.deliver(bus.consumer(handler), 3)
    rows = await bus.rows(bus.tables.outbox)
    traces = {row["key"]: row["traceparent"][3:35] for row in rows}
    assert traces == {f"ord_{n}": f"{n:032x}" for n in range(1, 4)}
    assert all(row["traceparent"][36:52] != "a" * 16 for row in rows)


async def test_after_commit_gets_the_handled_events_only_once_they_have_committed(bus: Bus) -> None:
    """A batch, or an event that was handled singly."""
    event, seen = bus.event("a"), []
    failing = FailFor(event, times=2)  # in the batch, and singly

    def after_commit(batch: Sequence[IncomingEvent]) -> None:
        seen.append([incoming.event.key for incoming in batch])

    await bus.send(event)
    consumer = bus.consumer(bus.handler(failing), after_commit=after_commit)
    await bus.deliver(consumer, 1)
    assert seen == []
    await bus.deliver(consumer, 1)
    assert seen == [["a"]]
    await bus.send(bus.event("b"), bus.event("c"))
    await bus.deliver(consumer, 2)
    assert seen == [["a"], ["b", "c"]]


async def test_a_message_is_not_redelivered_however_long_its_handling_takes(bus: Bus) -> None:
    """A message of the same age that is not handled is redelivered to another replica."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    slow, abandoned = bus.event("a"), bus.event("b")
    await bus.send(slow, abandoned)
    pull_consumer, replica = bus.pull_consumer(), bus.pull_consumer()
    messages = await bus.fetch(2, pull_consumer)
    redelivered: list[str] = []

    async def wait_for_redelivery(_: IncomingEvent) -> None:
        async def fetched() -> bool:
            redelivered.extend(other.headers["ce-id"] for other in await replica.fetch(10, 0.2))
            return bool(redelivered)

        await wait_until(fetched, "the redelivery of the abandoned message")

    consumer = bus.consumer(
        bus.handler(wait_for_redelivery), pull_consumer=pull_consumer, progress_seconds=0.1
    )
    await consumer.handle([one for one in messages if one.headers["ce-id"] == slow.id])
    assert redelivered == [abandoned.id]
    assert await bus.effect_ids() == [slow.id]


async def test_a_message_that_waits_for_the_batch_before_it_is_not_redelivered(bus: Bus) -> None:
    """It is fetched while that batch is handled, however long this takes."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    abandoned, slow, waiting = bus.events(3)
    await bus.send(abandoned, slow, waiting)
    await bus.fetch(1)
    replica, redelivered = bus.pull_consumer(), []

    async def wait_for_redelivery(incoming: IncomingEvent) -> None:
        async def fetched() -> bool:
            redelivered.extend(other.headers["ce-id"] for other in await replica.fetch(10, 0.2))
            return redelivered.count(abandoned.id) == 2

        if incoming.event.id == slow.id:
            await wait_until(fetched, "two redeliveries of the abandoned message")

    consumer = bus.consumer(bus.handler(wait_for_redelivery), batch_size=1, progress_seconds=0.1)
    async with running(consumer):

        async def both_handled() -> bool:
            return await bus.effect_count() == 2

        await wait_until(both_handled, "both events handled")
    assert set(redelivered) == {abandoned.id}
    assert await bus.effect_ids() == [slow.id, waiting.id]


async def test_stopping_handles_what_was_fetched_meanwhile(bus: Bus) -> None:
    """It would wait at the broker until the time for its answer has passed."""
    first, second = bus.events(2)
    await bus.send(first, second)
    fetched = RecordingConsumer(bus.pull_consumer())

    async def stop(_: IncomingEvent) -> None:
        async def both_fetched() -> bool:
            return (await fetched.lag()).pending == 0

        await wait_until(both_fetched, "the second event is fetched while the first is handled")
        consumer.stop()

    consumer = bus.consumer(bus.handler(stop), pull_consumer=fetched, batch_size=1)
    await consumer.run()
    assert await bus.effect_ids() == [first.id, second.id]
    await bus.wait_all_answered()


async def test_a_batch_has_one_log_line_and_each_duplicate_its_own(bus: Bus) -> None:
    events = bus.events(3)
    await bus.send(*events)
    await bus.send_copy(events[0])
    with capture_logs() as logs:
        await bus.deliver(bus.consumer(), 4)
    [handled] = [entry for entry in logs if entry["event"] == "events handled"]
    assert (handled["count"], handled["first_sequence"], handled["last_sequence"]) == (3, 2, 4)
    [duplicate] = [entry for entry in logs if entry["event"] == "duplicate ignored"]
    assert duplicate["event_id"] == events[0].id


async def test_replicas_of_a_durable_consumer_handle_each_event_once_without_deadlocks(
    bus: Bus,
) -> None:
    """Also if the same events reach several replicas at once, in different orders."""
    events = bus.events(600, keys=7)
    await asyncio.gather(*(bus.send(*events[start::4]) for start in range(4)))
    for event in events[::3]:
        await bus.send_copy(event)
    replicas = [bus.consumer(bus.handler(), batch_size=50) for _ in range(3)]
    deadlocks = await _deadlocks(bus)
    async with running(*replicas):
        await wait_until(bus.nothing_pending, "all handled")
    assert_each_once(await bus.effect_ids(), events)
    assert await bus.dead_letters() == []
    assert await _deadlocks(bus) == deadlocks


async def test_replicas_that_claim_the_same_events_in_opposite_orders_do_not_deadlock(
    bus: Bus,
) -> None:
    events = bus.events(300)
    await bus.send(*events)
    messages = await bus.fetch(300)
    handlers = [bus.handler(), bus.handler()]
    forward, backward = (bus.consumer(handler) for handler in handlers)
    outcomes = await asyncio.gather(
        *(
            work
            for start in range(0, 300, 30)
            for work in (
                forward.handle(messages[start : start + 30]),
                backward.handle(messages[start : start + 30][::-1]),
            )
        )
    )
    assert all(outcomes)
    assert_each_once(await bus.effect_ids(), events)
    # After a deadlock, events would have been passed to handlers again.
    assert sum(len(batch) for handler in handlers for batch in handler.batches) == 300


async def _deadlocks(bus: Bus) -> int:
    async with bus.superuser.connect() as connection:
        statement = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return int(await connection.scalar(text(statement)) or 0)


async def test_stopping_loses_nothing(bus: Bus) -> None:
    """Consumers start and stop while events arrive, and each event has one effect."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    events = bus.events(200)

    async def send() -> None:
        for event in events:
            await bus.send(event)

    sending = asyncio.create_task(send())
    handled = 0
    while not sending.done():
        async with running(bus.consumer(batch_size=9)):

            async def progress(before: int = handled) -> bool:
                return sending.done() or await bus.effect_count() > before

            await wait_until(progress, "some more events handled")
        handled = await bus.effect_count()
    await sending
    async with running(bus.consumer()):
        await wait_until(bus.nothing_pending, "all handled")
    assert_each_once(await bus.effect_ids(), events)


async def test_stopping_finishes_the_current_batch(bus: Bus) -> None:
    event, handling = bus.event("a"), asyncio.Event()
    stopping = asyncio.Event()

    async def slow(_: IncomingEvent) -> None:
        handling.set()
        await stopping.wait()

    await bus.send(event)
    consumer = bus.consumer(bus.handler(slow))
    async with running(consumer):
        await asyncio.wait_for(handling.wait(), 20)
        consumer.stop()
        stopping.set()
    assert await bus.effect_ids() == [event.id]
    await bus.wait_all_answered()
