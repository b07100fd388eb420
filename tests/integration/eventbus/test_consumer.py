"""Each event has exactly one effect, and a poison message does not block others."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from devstack.polling import wait_until
from eventbus import Event, HandlerRegistry, IncomingEvent, Outbox, Payload
from eventbus.backoff import Backoff
from eventbus.inbox import Inbox
from tests.fakes.broker import RecordingConsumer
from tests.integration.drivers.bus import Bus, assert_each_once, decode
from tests.integration.drivers.read_only_pool import fill_pool
from tests.integration.drivers.worker_runner import crashing, running


class HandlerError(Exception):
    """A failure of the handler itself."""


class FailFor:
    """Fails for one event, `times` times."""

    def __init__(self, event: Event, times: int = 1_000_000) -> None:
        self.event_id, self.remaining = event.id, times

    async def __call__(self, incoming: IncomingEvent) -> None:
        if incoming.event.id == self.event_id and self.remaining > 0:
            self.remaining -= 1
            raise HandlerError("no")


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


async def test_in_a_batch_with_a_poison_message_the_others_are_handled_immediately(
    bus: Bus,
) -> None:
    events = bus.events(20)
    await bus.send(*events)
    answers = RecordingConsumer(bus.pull_consumer())
    await bus.deliver(bus.consumer(bus.handler(FailFor(events[7])), pull_consumer=answers), 20)
    assert_each_once(await bus.effect_ids(), [e for e in events if e is not events[7]])
    assert [sequence for sequence, _ in answers.naks] == [8]
    assert await bus.dead_letters() == []


async def test_a_poison_message_is_retried_with_growing_delays_and_then_becomes_a_dead_letter(
    bus: Bus,
) -> None:
    event, answers = bus.event("ord_1"), RecordingConsumer(bus.pull_consumer())
    consumer = bus.consumer(
        bus.handler(FailFor(event)),
        pull_consumer=answers,
        max_attempts=4,
        backoff=Backoff(first_seconds=0.02, cap_seconds=60),
    )
    await bus.send(event)
    await bus.deliver_until_done(consumer)
    delays = [delay for _, delay in answers.naks]
    assert len(delays) == 3
    for failures, delay in enumerate(delays):
        assert 0.01 * 2**failures <= delay <= 0.02 * 2**failures
    assert answers.termed == [1]
    [dead_letter] = await bus.dead_letters()
    assert (dead_letter["event_id"], dead_letter["attempts"]) == (event.id, 4)
    assert dead_letter["kind"] == "ATTEMPTS_EXHAUSTED"
    assert dead_letter["reason"] == "failed 4 times, last error: HandlerError: no"
    assert await bus.marks() == {event.id: "DEAD"}
    assert await bus.effect_ids() == []
    assert await bus.rows(bus.tables.attempts) == []


async def test_a_message_that_fails_at_first_has_one_effect(bus: Bus) -> None:
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(bus.handler(FailFor(event, times=4))))
    assert await bus.effect_ids() == [event.id]
    assert await bus.marks() == {event.id: "HANDLED"}
    assert await bus.rows(bus.tables.attempts) == []


async def test_failures_are_counted_across_restarts(bus: Bus) -> None:
    event = bus.event("a")
    await bus.send(event)
    for _ in range(2):
        await bus.deliver(bus.consumer(bus.handler(FailFor(event)), max_attempts=3), 1)
    assert await bus.dead_letters() == []
    await bus.deliver(bus.consumer(bus.handler(FailFor(event)), max_attempts=3), 1)
    [dead_letter] = await bus.dead_letters()
    assert dead_letter["attempts"] == 3


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


async def test_an_infrastructure_error_does_not_count_as_a_failure_of_the_event(bus: Bus) -> None:
    """The database ends the connection during the handler, more often than there are attempts."""
    event, broken = bus.event("a"), []

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        if len(broken) < 5:
            broken.append(batch[0].event.id)
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        await bus.handler()(connection, batch)

    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(handler, max_attempts=2))
    assert broken == [event.id] * 5
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_a_statement_timeout_does_not_count_as_a_failure_of_the_event(bus: Bus) -> None:
    event, timeouts = bus.event("a"), [1, 2, 3, 4]

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        if timeouts:
            timeouts.pop()
            await connection.execute(text("SET LOCAL statement_timeout = 5"))
            await connection.execute(text("SELECT pg_sleep(10)"))
        await bus.handler()(connection, batch)

    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(handler, max_attempts=2))
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_a_read_only_database_does_not_count_as_a_failure_of_the_event(bus: Bus) -> None:
    event, refused = bus.event("a"), [1, 2, 3, 4]

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        if refused:
            refused.pop()
            await connection.execute(text("SET TRANSACTION READ ONLY"))
        await bus.handler()(connection, batch)

    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(handler, max_attempts=2))
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_events_are_handled_although_the_pool_has_read_only_connections(bus: Bus) -> None:
    """The first refused write replaces them: the rest of the events is not affected."""
    events = bus.events(30)
    await bus.send(*events)
    await fill_pool(bus.engine, read_only=6, writable=4)
    await bus.deliver_until_done(bus.consumer(max_attempts=1))
    assert_each_once(await bus.effect_ids(), events)
    assert await bus.dead_letters() == []


async def test_a_batch_that_the_infrastructure_failed_is_redelivered_after_a_delay(
    bus: Bus,
) -> None:
    """At once would make an outage worse."""

    async def fail(_: IncomingEvent) -> None:
        raise ConnectionResetError

    await bus.send(*bus.events(3))
    answers = RecordingConsumer(bus.pull_consumer())
    consumer = bus.consumer(
        bus.handler(fail), pull_consumer=answers, backoff=Backoff(first_seconds=40, cap_seconds=60)
    )
    assert not await bus.deliver(consumer, 3)
    assert [sequence for sequence, _ in answers.naks] == [1, 2, 3]
    assert all(20 <= delay <= 40 for _, delay in answers.naks)


async def test_no_event_is_lost_if_the_database_is_killed_during_its_handler(bus: Bus) -> None:
    events, killed = bus.events(10), []

    async def kill_once(_: IncomingEvent) -> None:
        if not killed:
            killed.append(True)
            await bus.stack.kill("postgres")

    await bus.send(*events)
    consumer = bus.consumer(bus.handler(kill_once), max_attempts=2)
    async with running(consumer):

        async def failing() -> bool:
            return bool(killed and consumer.current_error)

        await wait_until(failing, "the consumer reports the error")
        await bus.stack.start("postgres")
        await wait_until(bus.nothing_pending, "all handled")
    assert_each_once(await bus.effect_ids(), events)
    assert await bus.dead_letters() == []
    assert consumer.current_error == ""


async def test_a_message_that_crashed_its_process_too_often_becomes_a_dead_letter_unhandled(
    bus: Bus,
) -> None:
    """Each process recorded the beginning of its attempt, and never its end."""
    event, handler = bus.event("ord_1"), bus.handler()
    await bus.send(event)
    inbox = Inbox(bus.tables, bus.durable)
    for worker_id in ("first", "second", "third"):
        async with bus.engine.begin() as connection:
            await inbox.begin_attempt(connection, event.id, worker_id)
    answers = RecordingConsumer(bus.pull_consumer())
    [message] = await bus.fetch(1, answers)
    await bus.consumer(handler, pull_consumer=answers, max_attempts=3).handle(
        [replace(message, delivery_count=4)]
    )
    assert handler.batches == []
    assert answers.termed == [1]
    [dead_letter] = await bus.dead_letters()
    assert (dead_letter["kind"], dead_letter["attempts"]) == ("ATTEMPTS_EXHAUSTED", 3)
    assert dead_letter["reason"].endswith("the process ended during the attempt")
    assert await bus.marks() == {event.id: "DEAD"}


async def test_a_crash_counts_against_the_message_that_was_attempted_and_no_other(bus: Bus) -> None:
    """The delivery counts of a whole batch grow together; the failures do not."""
    await bus.declare_consumer("impatient", ack_wait_seconds=1)
    events = bus.events(4)
    deadly = events[2]
    attempted: list[str] = []

    async def hang(incoming: IncomingEvent) -> None:
        attempted.append(incoming.event.id)
        if incoming.event.id == deadly.id:
            await asyncio.Event().wait()

    async def fail(_: IncomingEvent) -> None:
        raise HandlerError  # the batch fails, so that each is attempted singly

    await bus.send(*events)
    impatient = bus.pull_consumer("impatient")
    first = bus.consumer(bus.handler(fail), pull_consumer=impatient, max_attempts=3)
    await bus.deliver(first, 4)
    for _ in range(2):
        attempted.clear()
        impatient = bus.pull_consumer("impatient")
        hanging = bus.consumer(bus.handler(hang), pull_consumer=impatient, max_attempts=3)
        async with crashing(hanging):

            async def reached() -> bool:
                return deadly.id in attempted

            await wait_until(reached, "the attempt has begun")
    survivor = bus.consumer(pull_consumer=bus.pull_consumer("impatient"), max_attempts=3)

    async def settled() -> bool:
        await survivor.handle(await survivor.pull_consumer.fetch(10, 0.2))
        lag = await survivor.pull_consumer.lag()
        return lag.pending == 0 and lag.unacknowledged == 0

    await wait_until(settled, "all handled or dead letters")
    assert [row["event_id"] for row in await bus.dead_letters()] == [deadly.id]
    assert_each_once(await bus.effect_ids(), [e for e in events if e is not deadly])


async def test_an_attempt_that_another_replica_still_makes_is_no_crash(bus: Bus) -> None:
    """Its signals of progress do not reach the broker, which delivers the message again."""
    event = bus.event("a")
    await bus.send(event)
    [message] = await bus.fetch(1)
    again = replace(message, delivery_count=2)
    answers = RecordingConsumer(bus.pull_consumer())
    other = bus.consumer(pull_consumer=answers, max_attempts=1)
    failures: list[int] = []

    async def deliver_again(_: IncomingEvent) -> None:
        assert await other.handle([again])
        failures.extend(row["failures"] for row in await bus.rows(bus.tables.attempts))

    await bus.consumer(bus.handler(deliver_again), max_attempts=1).handle([again])
    assert (failures, len(answers.naks), answers.termed) == ([0], 1, [])
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]
    assert await bus.rows(bus.tables.attempts) == []


async def test_an_outage_of_the_database_does_not_count_as_a_crash(bus: Bus) -> None:
    """The end of the attempt cannot be recorded while the database is down."""
    event = bus.event("a")
    await bus.send(event)
    consumers = [bus.consumer(max_attempts=2), bus.consumer(max_attempts=2)]

    async def outage(_: IncomingEvent) -> None:
        await bus.stack.kill("postgres")

    for consumer in (bus.consumer(bus.handler(outage), max_attempts=2) for _ in range(2)):
        [message] = await bus.fetch(1)
        await consumer.handle([replace(message, delivery_count=2)])
        await bus.stack.start("postgres")
    await bus.deliver_until_done(consumers[0])
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


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


async def test_a_consumer_survives_an_outage_of_the_broker(bus: Bus) -> None:
    """A killed broker loses the latest acknowledgements: redelivery has no second effect."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    events = bus.events(6)
    consumer = bus.consumer()
    await bus.send(*events[:3])
    async with running(consumer):
        await wait_until(bus.nothing_pending, "the first are handled")
        await bus.stack.kill("nats")

        async def failing() -> bool:
            return bool(consumer.current_error)

        await wait_until(failing, "the consumer reports the error")
        await bus.stack.start("nats")
        await bus.broker.wait_connected(10)

        async def connected() -> bool:
            return bus.broker.connected

        await wait_until(connected, "connected again")
        await bus.send(*events[3:])
        await wait_until(bus.nothing_pending, "the rest is handled")
    assert_each_once(await bus.effect_ids(), events)


async def test_redelivered_events_that_failed_before_are_handled_after_the_others(
    bus: Bus,
) -> None:
    """A slow or crashing one then does not delay the others."""
    events, handler = bus.events(4), bus.handler()
    await bus.send(*events)
    inbox = Inbox(bus.tables, bus.durable)
    async with bus.engine.begin() as connection:
        await inbox.begin_attempt(connection, events[0].id, "a crashed process")
        await inbox.begin_attempt(connection, events[1].id, "another process")
        await inbox.end_attempt(connection, events[1].id, "outage", counted=False)
    messages = [replace(message, delivery_count=2) for message in await bus.fetch(4)]
    await bus.consumer(handler).handle(messages)
    assert handler.batches == [[event.id] for event in (*events[1:], events[0])]


async def test_a_deleted_durable_consumer_is_an_error_until_it_is_created_again(
    bus: Bus,
) -> None:
    consumer, event = bus.consumer(), bus.event("a")
    js = (await bus.administrator()).jetstream()
    async with running(consumer):
        await js.delete_consumer(bus.stream, bus.durable)

        async def failing() -> bool:
            return bool(consumer.current_error)

        await wait_until(failing, "the consumer reports the error")
        await bus.declare_consumer(bus.durable)
        await bus.send(event)
        await wait_until(bus.nothing_pending, "the event is handled")

        async def recovered() -> bool:
            return not consumer.current_error

        await wait_until(recovered, "the error is cleared")
    assert await bus.effect_ids() == [event.id]


async def test_an_unexpected_error_of_a_decoder_makes_only_that_message_a_dead_letter(
    bus: Bus,
) -> None:
    def defective(event: Event) -> Payload:
        if event.key == "bad":
            raise HandlerError
        return decode(event)

    handler_registry = HandlerRegistry()
    handler_registry.subscribe(f"{bus.domain}.v1.Happened", defective, bus.handler())
    bad, good = bus.event("bad"), bus.event("good")
    await bus.send(bad, good)
    await bus.deliver(bus.consumer(handler_registry=handler_registry), 2)
    assert await bus.effect_ids() == [good.id]
    [dead_letter] = await bus.dead_letters()
    assert (dead_letter["event_id"], dead_letter["kind"]) == (bad.id, "MALFORMED")


async def test_attempts_of_an_event_are_deleted_if_a_copy_of_it_was_handled(bus: Bus) -> None:
    """The copy is handled in a batch, while the event waits for its retry."""
    event, calls = bus.event("a"), 0

    async def fail_twice(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls <= 2:  # in the batch, and singly
            raise ValueError

    consumer = bus.consumer(bus.handler(fail_twice))
    await bus.send(event)
    await bus.deliver(consumer, 1)
    assert len(await bus.rows(bus.tables.attempts)) == 1
    await bus.send_copy(event)
    await bus.deliver_until_done(consumer)
    assert await bus.effect_ids() == [event.id]
    assert await bus.rows(bus.tables.attempts) == []
