"""Promises of the consumer: each event has exactly one effect, and poison holds up nobody."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from devstack.polling import wait_until
from eventbus import Event, HandlerRegistry, IncomingEvent, Outbox, Payload
from eventbus.ack_policy import Backoff
from eventbus.inbox import Inbox
from tests.integration.bus import Bus, assert_each_once, decode
from tests.integration.faulty_broker import Answers
from tests.integration.worker_runner import crashing, running


class Trouble(Exception):
    """A handler's own failure."""


class Failing:
    """Fails for one event, so many times."""

    def __init__(self, event: Event, times: int = 1_000_000) -> None:
        self.event_id, self.left = event.id, times

    async def __call__(self, received: IncomingEvent) -> None:
        if received.event.id == self.event_id and self.left > 0:
            self.left -= 1
            raise Trouble("no")


async def test_an_effect_and_its_mark_commit_together(bus: Bus) -> None:
    event = bus.event("ord_1")
    await bus.send(event)
    assert await bus.deliver(bus.consumer(), 1)
    assert await bus.effect_ids() == [event.id]
    [mark] = await bus.rows(bus.tables.inbox)
    assert (mark["consumer"], mark["event_id"], mark["state"]) == ("listener", event.id, "HANDLED")
    assert (mark["key"], mark["stream_sequence"]) == ("ord_1", 1)


async def test_a_handler_that_raises_leaves_neither_effect_nor_mark(bus: Bus) -> None:
    """The handler raises after it wrote its effect."""
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver(bus.consumer(bus.handler(Failing(event))), 1)
    assert await bus.effect_ids() == []
    assert await bus.marks() == {}


async def test_what_a_handler_announces_commits_with_its_effect_or_not_at_all(bus: Bus) -> None:
    caused = bus.event("a", name="Caused")
    fails = [True]

    async def handler(connection: AsyncConnection, _batch: Sequence[IncomingEvent]) -> None:
        await Outbox(bus.tables).publish(connection, [caused])
        if fails[0]:
            raise Trouble

    await bus.send(bus.event("a"))
    consumer = bus.consumer(handler)
    await bus.deliver(consumer, 1)
    assert await bus.waiting() == []
    fails[0] = False
    await bus.deliver(consumer, 1)
    assert await bus.waiting() == [caused.id]


async def test_a_message_is_acknowledged_only_after_its_effect_is_committed(bus: Bus) -> None:
    """The connection breaks in the middle of the transaction: no acknowledgement was sent."""
    event, answers = bus.event("a"), Answers(bus.source())

    async def break_off(_: IncomingEvent) -> None:
        assert answers.acked == []
        raise Trouble

    await bus.send(event)
    await bus.deliver(bus.consumer(bus.handler(break_off), source=answers), 1)
    assert answers.acked == []
    await bus.deliver(bus.consumer(source=answers), 1)
    assert answers.acked == [1]


async def test_a_message_whose_acknowledgement_is_lost_has_one_effect(bus: Bus) -> None:
    await bus.declare_consumer("hasty", ack_wait_seconds=1)
    events = bus.events(5)
    await bus.send(*events)
    await bus.deliver(bus.consumer(source=Answers(bus.pull_consumer("hasty"), lost=True)), 5)
    again = bus.consumer(source=bus.pull_consumer("hasty"))
    await bus.deliver(again, 5)
    assert_each_once(await bus.effect_ids(), events)
    await bus.all_answered(again.source)


async def test_the_same_delivery_handled_twice_has_one_effect(bus: Bus) -> None:
    events = bus.events(3)
    await bus.send(*events)
    consumer = bus.consumer()
    messages = await bus.fetch(3)
    await consumer.handle(messages)
    await consumer.handle(messages)
    await consumer.handle([replace(message, delivery_count=2) for message in messages])
    assert_each_once(await bus.effect_ids(), events)


async def test_the_same_event_twice_in_one_batch_has_one_effect(bus: Bus) -> None:
    event, other = bus.event("a"), bus.event("b")
    await bus.send(event, other)
    await bus.send_copy(event)
    answers = Answers(bus.source())
    await bus.deliver(bus.consumer(source=answers), 3)
    assert_each_once(await bus.effect_ids(), [event, other])
    assert answers.acked == [1, 2, 3]


async def test_two_consumers_have_an_effect_each(bus: Bus) -> None:
    """The inbox is kept per consumer: one service may have several."""
    event = bus.event("a")
    await bus.declare_consumer("second")
    await bus.send(event)
    await bus.deliver(bus.consumer(), 1)
    await bus.deliver(bus.consumer(source=bus.pull_consumer("second")), 1)
    assert await bus.effect_ids() == [event.id, event.id]


async def test_in_a_batch_with_a_poison_message_the_others_take_effect_at_once(bus: Bus) -> None:
    events = bus.events(20)
    await bus.send(*events)
    answers = Answers(bus.source())
    await bus.deliver(bus.consumer(bus.handler(Failing(events[7])), source=answers), 20)
    assert_each_once(await bus.effect_ids(), [e for e in events if e is not events[7]])
    assert [sequence for sequence, _ in answers.naks] == [8]
    assert await bus.dead_letters() == []


async def test_a_poison_message_is_tried_with_growing_delays_then_becomes_a_dead_letter(
    bus: Bus,
) -> None:
    event, answers = bus.event("ord_1"), Answers(bus.source())
    failing = Failing(event)
    consumer = bus.consumer(
        bus.handler(failing),
        source=answers,
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
    [letter] = await bus.dead_letters()
    assert letter["event_id"] == event.id
    assert letter["attempts"] == 4
    assert letter["reason"] == "failed 4 times, last with Trouble: no"
    assert await bus.marks() == {event.id: "DEAD"}
    assert await bus.effect_ids() == []
    assert await bus.rows(bus.tables.attempts) == []


async def test_a_message_that_fails_at_first_has_one_effect_in_the_end(bus: Bus) -> None:
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(bus.handler(Failing(event, times=4))))
    assert await bus.effect_ids() == [event.id]
    assert await bus.marks() == {event.id: "HANDLED"}
    assert await bus.rows(bus.tables.attempts) == []


async def test_failures_are_counted_across_restarts(bus: Bus) -> None:
    event = bus.event("a")
    await bus.send(event)
    for _ in range(2):
        await bus.deliver(bus.consumer(bus.handler(Failing(event)), max_attempts=3), 1)
    assert await bus.dead_letters() == []
    await bus.deliver(bus.consumer(bus.handler(Failing(event)), max_attempts=3), 1)
    [letter] = await bus.dead_letters()
    assert letter["attempts"] == 3


async def test_events_of_a_key_are_handled_in_the_order_of_their_versions(bus: Bus) -> None:
    """Redelivery has reordered the stream's messages; within a batch the versions decide."""
    versions = [3, 1, 4, 2, 5]
    events = {version: bus.event("ord_1", version) for version in versions}
    others = [bus.event(f"k{n}", 1) for n in range(3)]
    await bus.send(*events.values(), *others)
    handler = bus.handler()
    await bus.deliver(bus.consumer(handler), 8)
    handled = [row["version"] for row in await bus.rows(bus.effects, key="ord_1")]
    assert handled == [1, 2, 3, 4, 5]
    assert len(handler.batches) == 5


async def test_what_an_event_causes_carries_its_trace(bus: Bus) -> None:
    """Also in a batch, where each event has a trace of its own."""
    causes = [bus.event(f"ord_{n}", traceparent=f"00-{n:032x}-{'a' * 16}-01") for n in range(1, 4)]

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        caused = [bus.event(one.event.key, name="Caused") for one in batch]
        await Outbox(bus.tables).publish(connection, caused)

    await bus.send(*causes)
    await bus.deliver(bus.consumer(handler), 3)
    rows = await bus.rows(bus.tables.outbox)
    traces = {row["key"]: row["traceparent"][3:35] for row in rows}
    assert traces == {f"ord_{n}": f"{n:032x}" for n in range(1, 4)}
    assert all(row["traceparent"][36:52] != "a" * 16 for row in rows)


async def test_effects_in_memory_come_after_the_commit_and_only_then(bus: Bus) -> None:
    """They are told what was handled: a batch, or an event that came alone."""
    event, seen = bus.event("a"), []
    failing = Failing(event, times=2)  # in the batch, and alone

    def after_commit(batch: Sequence[IncomingEvent]) -> None:
        seen.append([received.event.key for received in batch])

    await bus.send(event)
    consumer = bus.consumer(bus.handler(failing), after_commit=after_commit)
    await bus.deliver(consumer, 1)
    assert seen == []
    await bus.deliver(consumer, 1)
    assert seen == [["a"]]
    await bus.send(bus.event("b"), bus.event("c"))
    await bus.deliver(consumer, 2)
    assert seen == [["a"], ["b", "c"]]


async def test_an_error_of_the_infrastructure_is_never_charged_to_the_event(bus: Bus) -> None:
    """The database ends the connection in the middle, more often than there are attempts."""
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


async def test_a_statement_cut_off_by_its_time_limit_is_not_charged(bus: Bus) -> None:
    event, slow = bus.event("a"), [1, 2, 3, 4]

    async def handler(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        if slow:
            slow.pop()
            await connection.execute(text("SET LOCAL statement_timeout = 5"))
            await connection.execute(text("SELECT pg_sleep(10)"))
        await bus.handler()(connection, batch)

    await bus.send(event)
    await bus.deliver_until_done(bus.consumer(handler, max_attempts=2))
    assert await bus.dead_letters() == []
    assert await bus.effect_ids() == [event.id]


async def test_a_database_killed_while_it_handles_costs_no_event(bus: Bus) -> None:
    events, killed = bus.events(10), []

    async def kill_once(_: IncomingEvent) -> None:
        if not killed:
            killed.append(True)
            await bus.stack.kill("postgres")

    await bus.send(*events)
    consumer = bus.consumer(bus.handler(kill_once), max_attempts=2)
    async with running(consumer):

        async def noticed() -> bool:
            return bool(killed and consumer.trouble)

        await wait_until(noticed, "the consumer noticed")
        await bus.stack.start("postgres")
        await wait_until(bus.nothing_pending, "all handled")
    assert_each_once(await bus.effect_ids(), events)
    assert await bus.dead_letters() == []
    assert consumer.trouble == ""


async def test_a_message_that_ends_its_process_is_a_dead_letter_before_it_is_handled_again(
    bus: Bus,
) -> None:
    """Each process that tried it wrote down that it did, and was never heard of again."""
    event, handler = bus.event("ord_1"), bus.handler()
    await bus.send(event)
    inbox = Inbox(bus.tables, bus.durable)
    for process in ("first", "second", "third"):
        async with bus.engine.begin() as connection:
            await inbox.begin_attempt(connection, event.id, process)
    answers = Answers(bus.source())
    [message] = await bus.fetch(1, answers)
    await bus.consumer(handler, source=answers, max_attempts=3).handle(
        [replace(message, delivery_count=4)]
    )
    assert handler.batches == []
    assert answers.termed == [1]
    [letter] = await bus.dead_letters()
    assert letter["attempts"] == 3
    assert "ended the process" in letter["reason"]
    assert await bus.marks() == {event.id: "DEAD"}


async def test_a_crash_is_charged_to_the_message_that_was_tried_and_to_no_other(bus: Bus) -> None:
    """The deliveries of a whole batch count up together; the charges don't."""
    await bus.declare_consumer("hasty", ack_wait_seconds=1)
    events = bus.events(4)
    killer = events[2]
    tried: list[str] = []

    async def hang(received: IncomingEvent) -> None:
        tried.append(received.event.id)
        if received.event.id == killer.id:
            await asyncio.Event().wait()

    async def alone(_: IncomingEvent) -> None:
        raise Trouble  # the batch fails, so that each is tried alone

    await bus.send(*events)
    first = bus.consumer(bus.handler(alone), source=bus.pull_consumer("hasty"), max_attempts=3)
    await bus.deliver(first, 4)
    for _ in range(2):
        tried.clear()
        async with crashing(
            bus.consumer(bus.handler(hang), source=bus.pull_consumer("hasty"), max_attempts=3)
        ):

            async def reached() -> bool:
                return killer.id in tried

            await wait_until(reached, "the process is in the middle of it")
    last = bus.consumer(source=bus.pull_consumer("hasty"), max_attempts=3)

    async def settled() -> bool:
        await last.handle(await last.source.fetch(10, 0.2))
        lag = await last.source.lag()
        return lag.pending == 0 and lag.unacknowledged == 0

    await wait_until(settled, "all handled or given up")
    assert [letter["event_id"] for letter in await bus.dead_letters()] == [killer.id]
    assert_each_once(await bus.effect_ids(), [e for e in events if e is not killer])


async def test_an_outage_of_the_database_isnt_charged_as_a_crash_to_a_replica(bus: Bus) -> None:
    """The attempt can't be closed while the database is down; nobody crashed."""
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


async def test_a_message_stays_ours_however_long_its_handling_takes(bus: Bus) -> None:
    """It outlasts one of the same age that nobody is at, which another replica gets."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    slow, forgotten = bus.event("a"), bus.event("b")
    await bus.send(slow, forgotten)
    source, replica = bus.source(), bus.source()
    messages = await bus.fetch(2, source)
    came: list[str] = []

    async def until_the_other_came(_: IncomingEvent) -> None:
        async def look() -> bool:
            came.extend(one.headers["ce-id"] for one in await replica.fetch(10, 0.2))
            return bool(came)

        await wait_until(look, "the redelivery of the forgotten message")

    consumer = bus.consumer(bus.handler(until_the_other_came), source=source, progress_seconds=0.1)
    await consumer.handle([one for one in messages if one.headers["ce-id"] == slow.id])
    assert came == [forgotten.id]
    assert await bus.effect_ids() == [slow.id]


async def test_replicas_on_one_durable_handle_each_event_once_and_never_deadlock(bus: Bus) -> None:
    """Also when the same events reach both at once, in different orders."""
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


async def test_replicas_that_claim_the_same_events_in_opposite_orders_dont_deadlock(
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
    # A deadlock would have been survived, one by one: each event was handed out once.
    assert sum(len(batch) for handler in handlers for batch in handler.batches) == 300


async def _deadlocks(bus: Bus) -> int:
    async with bus.superuser.connect() as connection:
        statement = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return int(await connection.scalar(text(statement)) or 0)


async def test_a_new_durable_consumer_sees_old_events(bus: Bus) -> None:
    events = bus.events(5)
    await bus.send(*events)
    await bus.deliver_until_done(bus.consumer())
    await bus.execute(delete(bus.effects))
    await bus.declare_consumer("newcomer")
    await bus.deliver(bus.consumer(source=bus.pull_consumer("newcomer")), 5)
    assert_each_once(await bus.effect_ids(), events)


async def test_stopping_loses_nothing(bus: Bus) -> None:
    """Events come in all the while, consumers come and go, and each event has one effect."""
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


async def test_stopping_finishes_the_work_in_hand(bus: Bus) -> None:
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
    await bus.all_answered()


async def test_a_consumer_survives_being_cut_off_from_the_broker(bus: Bus) -> None:
    """A broker that is killed forgets the last acknowledgements: they come again, to no effect."""
    await bus.declare_consumer(bus.durable, ack_wait_seconds=1)
    events = bus.events(6)
    consumer = bus.consumer()
    await bus.send(*events[:3])
    async with running(consumer):
        await wait_until(bus.nothing_pending, "the first are handled")
        await bus.stack.kill("nats")

        async def troubled() -> bool:
            return bool(consumer.trouble)

        await wait_until(troubled, "the consumer noticed")
        await bus.stack.start("nats")
        await bus.broker.wait_connected(10)

        async def sent() -> bool:
            return bus.broker.connected

        await wait_until(sent, "connected again")
        await bus.send(*events[3:])
        await wait_until(bus.nothing_pending, "the rest is handled")
    assert_each_once(await bus.effect_ids(), events)


async def test_a_redelivered_event_that_failed_before_comes_after_those_that_did_not(
    bus: Bus,
) -> None:
    """A slow or deadly one then costs the others nothing."""
    events, handler = bus.events(4), bus.handler()
    await bus.send(*events)
    inbox = Inbox(bus.tables, bus.durable)
    async with bus.engine.begin() as connection:
        await inbox.begin_attempt(connection, events[0].id, "a process that is no more")
        await inbox.begin_attempt(connection, events[1].id, "another")
        await inbox.end_attempt(connection, events[1].id, "outage", charged=False)
    messages = [replace(message, delivery_count=2) for message in await bus.fetch(4)]
    await bus.consumer(handler).handle(messages)
    assert handler.batches == [[event.id] for event in (*events[1:], events[0])]


async def test_a_durable_consumer_that_was_deleted_shows_as_trouble_until_it_is_back(
    bus: Bus,
) -> None:
    consumer, event = bus.consumer(), bus.event("a")
    js = (await bus.administrator()).jetstream()
    async with running(consumer):
        await js.delete_consumer(bus.stream, bus.durable)

        async def troubled() -> bool:
            return bool(consumer.trouble)

        await wait_until(troubled, "the consumer noticed")
        await bus.declare_consumer(bus.durable)
        await bus.send(event)
        await wait_until(bus.nothing_pending, "the event is handled")

        async def calm() -> bool:
            return not consumer.trouble

        await wait_until(calm, "the trouble is over")
    assert await bus.effect_ids() == [event.id]


async def test_a_decoder_that_fails_in_another_way_holds_up_nobody(bus: Bus) -> None:
    """A defect in reading one body is that message's trouble, not the batch's."""

    def fragile(event: Event) -> Payload:
        if event.key == "bad":
            raise Trouble
        return decode(event)

    handler_registry = HandlerRegistry()
    handler_registry.subscribe(f"{bus.domain}.v1.Happened", fragile, bus.handler())
    bad, good = bus.event("bad"), bus.event("good")
    await bus.send(bad, good)
    await bus.deliver(bus.consumer(handler_registry=handler_registry), 2)
    assert await bus.effect_ids() == [good.id]
