"""Failures and crashes of a handler: a poison message does not block others."""

import asyncio
from dataclasses import replace

from devstack.polling import wait_until
from eventbus import Event, HandlerRegistry, IncomingEvent, Payload
from eventbus.backoff import Backoff
from eventbus.inbox import Inbox
from tests.fakes.broker import RecordingConsumer
from tests.integration.drivers.bus import Bus, assert_each_once, decode
from tests.integration.drivers.failing_handlers import FailFor, HandlerError
from tests.integration.drivers.worker_runner import crashing


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
