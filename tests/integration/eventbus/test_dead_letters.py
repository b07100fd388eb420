"""Promises about what can't be handled: kept whole, out of everybody's way, decided by a person."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from devstack.polling import wait_until
from eventbus import Event, HandlerRegistry, IncomingEvent, PermanentError
from eventbus.dead_letters.store import (
    DeadLetterClosed,
    DeadLetterNotFound,
    DeadLetterStore,
    ReplayFailed,
)
from eventbus.errors import is_transient
from interview.v1 import events_pb2
from runtime.ids import new_id
from runtime.protobuf import decoder, to_event, to_timestamp
from tests.integration.bus import Bus, OpenBus
from tests.integration.faulty_broker import Answers

ID = "evt_of_the_broken_one"
# Subject after the domain, headers, body, and what the reason says.
BROKEN = {
    "a body that can't be decoded": ("v1.Happened.a", {"ce-id": ID}, b"\xff\xfe", "body is no"),
    "an empty body": ("v1.Happened.a", {"ce-id": ID}, b"", "body is no"),
    "no headers at all": ("v1.Happened.a", None, b'{"version": 1}', "no header ce-id"),
    "an id that is no id": ("v1.Happened.a", {"ce-id": "two words"}, b"{}", "event id"),
    "an unknown type": ("v1.Unheard.a", {"ce-id": ID}, b"{}", "no handler"),
    "a subject without a type": ("v1.nothing", {"ce-id": ID}, b"{}", "names no event type"),
    "a subject with a token too many": ("v1.Happened.a.b", {"ce-id": ID}, b"{}", "names no"),
    "a subject with a strange key": ("v1.Happened.ü", {"ce-id": ID}, b"{}", "event key"),
    "another type in its header": (
        "v1.Happened.a",
        {"ce-id": ID, "ce-type": "x.v1.Other"},
        b"{}",
        "header ce-type",
    ),
    "a time that is no time": ("v1.Happened.a", {"ce-id": ID, "ce-time": "noon"}, b"{}", "ce-time"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_message_is_a_dead_letter_at_once_and_the_next_is_handled_if_it_has(
    bus: Bus, kind: str
) -> None:
    subject, headers, data, reason = BROKEN[kind]
    subject, good, answers = f"{bus.domain}.{subject}", bus.event("a"), Answers(bus.source())
    await bus.send_raw(subject, data, headers)
    await bus.send(good)
    assert await bus.deliver(bus.consumer(source=answers), 2)
    assert await bus.effect_ids() == [good.id]
    [letter] = await bus.dead_letters()
    assert reason in letter["reason"]
    assert (letter["subject"], letter["data"]) == (subject, data)
    assert letter["headers"] == (headers or {})
    assert (letter["consumer"], letter["attempts"], letter["stream_sequence"]) == ("listener", 1, 1)
    assert letter["resolution"] is None
    assert (answers.termed, answers.acked, answers.naks) == ([1], [2], [])
    await bus.all_answered()


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        (b".v1.Happened.a\x00b", b"ce-id: x\r\n"),
        (b".v1.Happened.a", b"ce-id: x\r\nce-source: \xff\xfe\x00\r\n"),
        (b".v1.Happened.a", b"ce-id: x\x00\r\n"),
        (b".v1.Happened.a", b"no header\r\n"),
        (b".v1.Happened.a", b"ce-id: x\r\nce-type: \xff\xfe\r\n"),
    ],
)
async def test_bytes_that_the_database_cant_hold_are_kept_all_the_same(
    bus: Bus, subject: bytes, headers: bytes
) -> None:
    await _publish_bytes(bus, bus.domain.encode() + subject, headers, b"\xff")
    good = bus.event("a")
    await bus.send(good)
    assert await bus.deliver(bus.consumer(), 2)
    assert await bus.effect_ids() == [good.id]
    assert len(await bus.dead_letters()) == 1
    await bus.all_answered()


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        (b".v1.Happened.\xff", b"ce-id: x\r\n"),  # ends the client's read loop, silently
        (b".v1.Happened.a", b"ce-id: x\r\nStatus: 404\r\n"),  # taken for the server's own
    ],
    ids=["a subject that is no UTF-8", "a header Status"],
)
async def test_a_message_that_the_client_library_misreads_holds_up_nobody(
    bus: Bus, subject: bytes, headers: bytes
) -> None:
    await _publish_bytes(bus, bus.domain.encode() + subject, headers, b'{"version": 1}')
    good, consumer = bus.event("a"), bus.consumer()
    await bus.send(good)
    for _ in range(5):
        await consumer.handle(await consumer.source.fetch(10, 0.2))
    assert good.id in await bus.effect_ids()
    await bus.all_answered()


async def _publish_bytes(bus: Bus, subject: bytes, headers: bytes, data: bytes) -> None:
    """What no client library would send."""
    login = bus.stack.nats_login("admin")
    reader, writer = await asyncio.open_connection(login.host, login.port)
    try:
        await reader.readline()
        entry = f'{{"user":"{login.user}","pass":"{login.password}","headers":true}}'
        block = b"NATS/1.0\r\n" + headers + b"\r\n"
        sizes = f" {len(block)} {len(block) + len(data)}\r\n".encode()
        writer.write(
            b"CONNECT "
            + entry.encode()
            + b"\r\nHPUB "
            + subject
            + sizes
            + block
            + data
            + b"\r\nPING\r\n"
        )
        while not (await reader.readline()).startswith(b"PONG"):
            pass
    finally:
        writer.close()
        await writer.wait_closed()


async def test_an_event_whose_subject_names_another_key_than_its_body_is_a_dead_letter(
    new_bus: OpenBus,
) -> None:
    bus = await new_bus(domain="interview")
    handler, now = bus.handler(), datetime.now(UTC)
    message = events_pb2.SessionPrepared(
        session_id=new_id("ses"),
        order_id=new_id("ord"),
        access_code_id=new_id("acc"),
        product_id="p",
        prepared_at=to_timestamp(now),
    )
    right = to_event(message, "interview", now)
    wrong = f"{right.type}.{new_id('ord')}"
    await bus.send_raw(wrong, right.data, {"ce-id": ID})
    await bus.send(right)
    handler_registry = HandlerRegistry()
    handler_registry.subscribe(right.type, decoder(events_pb2.SessionPrepared), handler)
    await bus.deliver(bus.consumer(handler_registry=handler_registry), 2)
    assert await bus.effect_ids() == [right.id]
    [letter] = await bus.dead_letters()
    assert letter["event_id"] == ID
    assert "subject says" in letter["reason"]


async def test_an_event_that_the_domain_will_never_handle_is_a_dead_letter_at_once(
    bus: Bus,
) -> None:
    never, good = bus.event("a"), bus.event("b")

    async def judge(received: IncomingEvent) -> None:
        if received.event.id == never.id:
            raise PermanentError("revoked")

    await bus.send(never, good)
    answers = Answers(bus.source())
    await bus.deliver(bus.consumer(bus.handler(judge), source=answers), 2)
    [letter] = await bus.dead_letters()
    assert (letter["event_id"], letter["reason"]) == (never.id, "PermanentError: revoked")
    assert (answers.termed, answers.naks) == ([1], [])
    assert await bus.effect_ids() == [good.id]


async def test_a_dead_letter_and_its_mark_are_one_transaction(bus: Bus) -> None:
    """If the letter can't be kept, the event isn't marked, and it is not given up."""
    event = bus.event("a")
    await bus.send(event)
    answers = Answers(bus.source())
    consumer = bus.consumer(_never, source=answers)
    await bus.execute(f"ALTER TABLE {bus.schema}.dead_letters RENAME TO gone")
    assert not await bus.deliver(consumer, 1)
    assert await bus.marks() == {}
    assert answers.termed == []
    await bus.execute(f"ALTER TABLE {bus.schema}.gone RENAME TO dead_letters")
    await bus.deliver(consumer, 1)
    assert await bus.marks() == {event.id: "DEAD"}
    assert len(await bus.dead_letters()) == 1
    assert answers.termed == [1]


async def test_a_message_whose_termination_is_lost_is_one_dead_letter(bus: Bus) -> None:
    await bus.declare_consumer("hasty", ack_wait_seconds=1)
    await bus.send(bus.event("a"))
    lost = Answers(bus.pull_consumer("hasty"), lost=True)
    await bus.deliver(bus.consumer(_never, source=lost), 1)
    again = Answers(bus.pull_consumer("hasty"))
    await bus.deliver(bus.consumer(_never, source=again), 1)
    assert len(await bus.dead_letters()) == 1
    await bus.all_answered(again)


async def test_publishing_a_dead_event_again_doesnt_revive_it(bus: Bus) -> None:
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver(bus.consumer(_never), 1)
    await bus.send_copy(event)
    await bus.deliver(bus.consumer(), 1)
    assert await bus.effect_ids() == []
    assert await bus.marks() == {event.id: "DEAD"}
    assert len(await bus.dead_letters()) == 1


async def test_a_dead_letter_ends_nobody_elses_attempts(bus: Bus) -> None:
    """Dead letters are kept per consumer, and so are marks."""
    event = bus.event("a")
    await bus.declare_consumer("second")
    await bus.send(event)
    await bus.deliver(bus.consumer(_never), 1)
    await bus.deliver(bus.consumer(source=bus.pull_consumer("second")), 1)
    assert await bus.effect_ids() == [event.id]


async def test_a_replay_takes_effect_once(bus: Bus) -> None:
    event = bus.event("a")
    letter = await _bury(bus, event)
    assert await bus.replay(bus.consumer(), letter) is False
    assert await bus.effect_ids() == [event.id]
    assert await bus.marks() == {event.id: "HANDLED"}
    [row] = await bus.dead_letters()
    assert row["resolution"] == "HANDLED"
    assert row["resolved_at"] is not None


async def test_a_second_replay_is_told_that_the_letter_is_closed(bus: Bus) -> None:
    event = bus.event("a")
    letter = await _bury(bus, event)
    await bus.replay(bus.consumer(), letter)
    with pytest.raises(DeadLetterClosed, match="HANDLED"):
        await bus.replay(bus.consumer(), letter)
    assert await bus.effect_ids() == [event.id]


async def test_two_replays_at_once_have_one_effect(bus: Bus) -> None:
    """The first is in its handler until the other is there too, or waits for a lock."""
    event, inside = bus.event("a"), []
    letter = await _bury(bus, event)

    async def meet(_: IncomingEvent) -> None:
        inside.append(1)

        async def other_came() -> bool:
            return len(inside) > 1 or await _somebody_waits_for_a_lock(bus)

        await wait_until(other_came, "the other replay")

    consumer = bus.consumer(bus.handler(meet))
    replays = [bus.replay(consumer, letter) for _ in range(2)]
    outcomes = await asyncio.gather(*replays, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["DeadLetterClosed", "bool"]
    assert await bus.effect_ids() == [event.id]


async def _somebody_waits_for_a_lock(bus: Bus) -> bool:
    waiting = "SELECT exists (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')"
    async with bus.superuser.connect() as connection:
        return bool(await connection.scalar(text(waiting)))


async def test_a_replay_that_fails_leaves_the_letter_open_and_no_effect(bus: Bus) -> None:
    event = bus.event("a")
    letter = await _bury(bus, event)

    async def fail(_: IncomingEvent) -> None:
        raise PermanentError("still revoked")

    with pytest.raises(ReplayFailed, match="still revoked"):
        await bus.replay(bus.consumer(bus.handler(fail)), letter)
    assert await bus.effect_ids() == []
    assert await bus.marks() == {event.id: "DEAD"}
    assert [row["resolution"] for row in await bus.dead_letters()] == [None]
    await bus.replay(bus.consumer(), letter)
    assert await bus.effect_ids() == [event.id]


async def test_an_outage_during_a_replay_is_told_as_one(bus: Bus) -> None:
    """It says nothing of the event: the same replay succeeds later."""
    event = bus.event("a")
    letter = await _bury(bus, event)

    async def lose_the_database(
        connection: AsyncConnection, _batch: Sequence[IncomingEvent]
    ) -> None:
        await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Exception) as outage:  # noqa: PT011
        await bus.replay(bus.consumer(lose_the_database), letter)
    assert is_transient(outage.value)
    assert not isinstance(outage.value, ReplayFailed)
    await bus.replay(bus.consumer(), letter)
    assert await bus.effect_ids() == [event.id]


async def test_a_replay_of_what_still_cant_be_decoded_fails_and_leaves_it_open(bus: Bus) -> None:
    letter = await _bury(bus, bus.event("a", data=b"\xff"))
    with pytest.raises(ReplayFailed, match="MalformedEnvelope"):
        await bus.replay(bus.consumer(), letter)
    assert [row["resolution"] for row in await bus.dead_letters()] == [None]


async def test_a_letter_that_can_be_decoded_meanwhile_is_replayed_as_it_came(bus: Bus) -> None:
    """The service learnt the type after the letter was buried."""
    event = bus.event("a", version=7)
    await bus.send(event)
    await bus.deliver(bus.consumer(handler_registry=HandlerRegistry()), 1)
    [row] = await bus.dead_letters()
    await bus.replay(bus.consumer(), row["dead_letter_id"])
    [effect] = await bus.rows(bus.effects)
    assert (effect["event_id"], effect["key"], effect["version"]) == (event.id, "a", 7)


async def test_a_replay_tells_whether_later_events_of_its_key_were_handled_before(
    bus: Bus,
) -> None:
    early = await _bury(bus, bus.event("ord_1", 1))
    other = await _bury(bus, bus.event("ord_2", 1))
    unkeyed = await _bury(bus, bus.event())
    await bus.send(bus.event("ord_1", 2), bus.event())
    await bus.deliver(bus.consumer(), 2)
    late = await _bury(bus, bus.event("ord_1", 3))
    consumer = bus.consumer()
    assert await bus.replay(consumer, early) is True
    assert await bus.replay(consumer, other) is False
    assert await bus.replay(consumer, unkeyed) is False
    assert await bus.replay(consumer, late) is False


async def test_a_later_event_that_is_dead_itself_hasnt_passed(bus: Bus) -> None:
    first = await _bury(bus, bus.event("ord_1", 1))
    await _bury(bus, bus.event("ord_1", 2))
    assert await bus.replay(bus.consumer(), first) is False


async def test_a_replay_wakes_those_who_wait_for_commits(bus: Bus) -> None:
    """They are told what was handled."""
    event, seen = bus.event("a"), []
    letter = await _bury(bus, event)
    await bus.replay(bus.consumer(after_commit=seen.append), letter)
    assert [[received.event.id for received in batch] for batch in seen] == [[event.id]]


async def test_a_discarded_letter_never_takes_effect(bus: Bus) -> None:
    event = bus.event("a")
    letter = await _bury(bus, event)
    await bus.discard(bus.consumer(), letter)
    assert await bus.marks() == {event.id: "DISCARDED"}
    assert [row["resolution"] for row in await bus.dead_letters()] == ["DISCARDED"]
    for decide in (bus.replay, bus.discard):
        with pytest.raises(DeadLetterClosed, match="DISCARDED"):
            await decide(bus.consumer(), letter)
    await bus.send_copy(event)
    await bus.deliver(bus.consumer(), 1)
    assert await bus.effect_ids() == []


async def test_a_letter_that_isnt_there_cant_be_decided_on(bus: Bus) -> None:
    for decide in (bus.replay, bus.discard):
        with pytest.raises(DeadLetterNotFound):
            await decide(bus.consumer(), "dlq_nowhere")


async def test_a_replay_whose_mark_isnt_dead_any_more_has_no_effect(bus: Bus) -> None:
    letter = await _bury(bus, bus.event("a"))
    await bus.execute(update(bus.tables.inbox).values(state="HANDLED"))
    with pytest.raises((ReplayFailed, DeadLetterClosed)):
        await bus.replay(bus.consumer(), letter)
    assert await bus.effect_ids() == []


async def test_open_letters_are_listed_newest_first_and_in_pages(bus: Bus) -> None:
    letters = [await _bury(bus, bus.event("a")) for _ in range(5)]
    await bus.discard(bus.consumer(), letters[2])
    expected = sorted((letter for letter in letters if letter != letters[2]), reverse=True)
    kept = DeadLetterStore(bus.tables)
    async with bus.engine.connect() as connection:
        first = await kept.open_page(connection, 3, "")
        second = await kept.open_page(connection, 3, first[-1].dead_letter_id)
        count = await kept.count_open(connection, "listener")
        none = await kept.count_open(connection, "somebody else")
    assert [letter.dead_letter_id for letter in (*first, *second)] == expected
    assert (count, none) == (4, 0)


async def test_a_list_of_letters_goes_without_their_bodies(bus: Bus) -> None:
    """They may be large, and there may be many; the letter itself has its own."""
    event = bus.event("a")
    letter = await _bury(bus, event)
    kept = DeadLetterStore(bus.tables)
    async with bus.engine.connect() as connection:
        (listed,) = await kept.open_page(connection, 3, "")
        whole = await kept.get(connection, letter)
    assert (listed.data, whole.data) == (b"", event.data)
    assert replace(listed, data=whole.data) == whole


async def _never(_connection: AsyncConnection, _batch: Sequence[IncomingEvent]) -> None:
    raise PermanentError("not in this life")


async def _bury(bus: Bus, event: Event) -> str:
    """Makes an event a dead letter; returns the letter's id."""
    await bus.send(event)
    await bus.deliver(bus.consumer(_never, source=bus.source()), 1)
    [letter] = await bus.rows(bus.tables.dead_letters, event_id=event.id)
    return str(letter["dead_letter_id"])
