"""Messages that cannot be handled are stored whole and block no others."""

import asyncio
from dataclasses import replace

import pytest

from eventbus import IncomingEvent, PermanentError
from eventbus.dead_letters.store import DeadLetterStore
from tests.fakes.broker import RecordingConsumer
from tests.integration.drivers.bus import Bus, reject

EVENT_ID = "evt_malformed"
# Subject after the domain, headers, body, and a part of the reason.
MALFORMED = {
    "a body that cannot be decoded": (
        "v1.Happened.a",
        {"ce-id": EVENT_ID},
        b"\xff\xfe",
        "body is not JSON",
    ),
    "an empty body": ("v1.Happened.a", {"ce-id": EVENT_ID}, b"", "body is not JSON"),
    "no headers at all": ("v1.Happened.a", None, b'{"version": 1}', "no header ce-id"),
    "an invalid id": ("v1.Happened.a", {"ce-id": "two words"}, b"{}", "event id"),
    "an unknown type": ("v1.Unknown.a", {"ce-id": EVENT_ID}, b"{}", "no handler"),
    "a subject without a type": ("v1.nothing", {"ce-id": EVENT_ID}, b"{}", "names no event type"),
    "a subject with too many tokens": ("v1.Happened.a.b", {"ce-id": EVENT_ID}, b"{}", "names no"),
    "an invalid key": ("v1.Happened.ü", {"ce-id": EVENT_ID}, b"{}", "event key"),
    "another type in the header": (
        "v1.Happened.a",
        {"ce-id": EVENT_ID, "ce-type": "x.v1.Other"},
        b"{}",
        "header ce-type",
    ),
    "an invalid time": ("v1.Happened.a", {"ce-id": EVENT_ID, "ce-time": "noon"}, b"{}", "ce-time"),
}


@pytest.mark.parametrize("defect", MALFORMED)
async def test_a_malformed_message_becomes_a_dead_letter_immediately_and_the_next_is_handled(
    bus: Bus, defect: str
) -> None:
    subject, headers, data, reason = MALFORMED[defect]
    subject, good = f"{bus.domain}.{subject}", bus.event("a")
    answers = RecordingConsumer(bus.pull_consumer())
    await bus.send_raw(subject, data, headers)
    await bus.send(good)
    assert await bus.deliver(bus.consumer(pull_consumer=answers), 2)
    assert await bus.effect_ids() == [good.id]
    [dead_letter] = await bus.dead_letters()
    assert dead_letter["kind"] == "MALFORMED"
    assert reason in dead_letter["reason"]
    assert (dead_letter["subject"], dead_letter["data"]) == (subject, data)
    assert dead_letter["headers"] == (headers or {})
    assert (dead_letter["consumer"], dead_letter["attempts"], dead_letter["stream_sequence"]) == (
        "listener",
        1,
        1,
    )
    assert dead_letter["resolution"] is None
    assert (answers.termed, answers.acked, answers.naks) == ([1], [2], [])
    await bus.wait_all_answered()


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
async def test_a_dead_letter_replaces_bytes_that_the_database_cannot_store(
    bus: Bus, subject: bytes, headers: bytes
) -> None:
    await _publish_bytes(bus, bus.domain.encode() + subject, headers, b"\xff")
    good = bus.event("a")
    await bus.send(good)
    assert await bus.deliver(bus.consumer(), 2)
    assert await bus.effect_ids() == [good.id]
    assert len(await bus.dead_letters()) == 1
    await bus.wait_all_answered()


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        (b".v1.Happened.\xff", b"ce-id: x\r\n"),  # would end the library's read loop
        (b".v1.Happened.a", b"ce-id: x\r\nStatus: 404\r\n"),  # would be taken for the server's
    ],
    ids=["a subject that is not UTF-8", "a header Status"],
)
async def test_a_message_that_the_nats_library_misreads_does_not_block_others(
    bus: Bus, subject: bytes, headers: bytes
) -> None:
    await _publish_bytes(bus, bus.domain.encode() + subject, headers, b'{"version": 1}')
    good, consumer = bus.event("a"), bus.consumer()
    await bus.send(good)
    for _ in range(5):
        await consumer.handle(await consumer.pull_consumer.fetch(10, 0.2))
    assert good.id in await bus.effect_ids()
    await bus.wait_all_answered()


async def _publish_bytes(bus: Bus, subject: bytes, headers: bytes, data: bytes) -> None:
    """Publishes bytes that no client library would send."""
    login = bus.stack.nats_login("admin")
    reader, writer = await asyncio.open_connection("127.0.0.1", bus.stack.port("nats"))
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


async def test_an_event_that_its_handlerrejects_becomes_a_dead_letter_immediately(
    bus: Bus,
) -> None:
    rejected, good = bus.event("a"), bus.event("b")

    async def reject(incoming: IncomingEvent) -> None:
        if incoming.event.id == rejected.id:
            raise PermanentError("revoked")

    await bus.send(rejected, good)
    answers = RecordingConsumer(bus.pull_consumer())
    await bus.deliver(bus.consumer(bus.handler(reject), pull_consumer=answers), 2)
    [dead_letter] = await bus.dead_letters()
    assert (dead_letter["event_id"], dead_letter["kind"]) == (rejected.id, "REJECTED")
    assert dead_letter["reason"] == "PermanentError: revoked"
    assert (answers.termed, answers.naks) == ([1], [])
    assert await bus.effect_ids() == [good.id]


async def test_a_dead_letter_and_its_mark_commit_together_or_not_at_all(bus: Bus) -> None:
    """If the dead dead_letter cannot be stored, the event is not marked and not terminated."""
    event = bus.event("a")
    await bus.send(event)
    answers = RecordingConsumer(bus.pull_consumer())
    consumer = bus.consumer(reject, pull_consumer=answers)
    await bus.execute(f"ALTER TABLE {bus.schema}.dead_letters RENAME TO renamed")
    assert not await bus.deliver(consumer, 1)
    assert await bus.marks() == {}
    assert answers.termed == []
    await bus.execute(f"ALTER TABLE {bus.schema}.renamed RENAME TO dead_letters")
    await bus.deliver(consumer, 1)
    assert await bus.marks() == {event.id: "DEAD"}
    assert len(await bus.dead_letters()) == 1
    assert answers.termed == [1]


async def test_a_message_whose_termination_is_lost_has_one_dead_letter(bus: Bus) -> None:
    await bus.declare_consumer("impatient", ack_wait_seconds=1)
    await bus.send(bus.event("a"))
    lost = RecordingConsumer(bus.pull_consumer("impatient"), lost=True)
    await bus.deliver(bus.consumer(reject, pull_consumer=lost), 1)
    other = RecordingConsumer(bus.pull_consumer("impatient"))
    await bus.deliver(bus.consumer(reject, pull_consumer=other), 1)
    assert len(await bus.dead_letters()) == 1
    await bus.wait_all_answered(other)


async def test_a_dead_event_that_is_published_again_is_not_handled(bus: Bus) -> None:
    event = bus.event("a")
    await bus.send(event)
    await bus.deliver(bus.consumer(reject), 1)
    await bus.send_copy(event)
    await bus.deliver(bus.consumer(), 1)
    assert await bus.effect_ids() == []
    assert await bus.marks() == {event.id: "DEAD"}
    assert len(await bus.dead_letters()) == 1


async def test_another_consumer_handles_an_event_that_is_a_dead_letter_of_the_first(
    bus: Bus,
) -> None:
    """Dead letters are per consumer, and so are marks."""
    event = bus.event("a")
    await bus.declare_consumer("second")
    await bus.send(event)
    await bus.deliver(bus.consumer(reject), 1)
    await bus.deliver(bus.consumer(pull_consumer=bus.pull_consumer("second")), 1)
    assert await bus.effect_ids() == [event.id]


async def test_open_dead_letters_are_listed_newest_first_and_in_pages(bus: Bus) -> None:
    dead_letter_ids = [await bus.make_dead_letter(bus.event("a")) for _ in range(5)]
    await bus.discard(bus.consumer(), dead_letter_ids[2])
    expected = sorted(set(dead_letter_ids) - {dead_letter_ids[2]}, reverse=True)
    store = DeadLetterStore(bus.tables)
    async with bus.engine.connect() as connection:
        first = await store.open_page(connection, 3, "")
        second = await store.open_page(connection, 3, first[-1].dead_letter_id)
        count = await store.count_open(connection, "listener")
        none = await store.count_open(connection, "another consumer")
    assert [dead_letter.dead_letter_id for dead_letter in (*first, *second)] == expected
    assert (count, none) == (4, 0)


async def test_a_list_of_dead_letters_leaves_out_their_data(bus: Bus) -> None:
    event = bus.event("a")
    dead_letter = await bus.make_dead_letter(event)
    store = DeadLetterStore(bus.tables)
    async with bus.engine.connect() as connection:
        (listed,) = await store.open_page(connection, 3, "")
        whole = await store.get(connection, dead_letter)
    assert (listed.data, whole.data) == (b"", event.data)
    assert replace(listed, data=whole.data) == whole
