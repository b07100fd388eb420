"""What the JetStream stream reader does beyond the promises of every `StreamReader`."""

from nats.js.api import StreamConfig

from tests.integration.drivers.bus import Bus


async def test_messages_are_found_by_subject_in_order(bus: Bus) -> None:
    events = bus.events(12, keys=3)
    await bus.send(*events)
    js = (await bus.administrator()).jetstream()
    await js.delete_msg(bus.stream, 5)
    reader = bus.broker.stream_reader(bus.stream)
    stored = [entry.message async for entry in reader.search(f"{bus.domain}.v1.*.k1")]
    assert [message.stream_sequence for message in stored] == [2, 8, 11]
    assert [message.headers["ce-id"] for message in stored] == [events[n].id for n in (1, 7, 10)]


async def test_headers_and_bodies_of_any_bytes_are_read_as_they_are_delivered(bus: Bus) -> None:
    await bus.send_raw(f"{bus.domain}.v1.Happened.a", b"\x00\xff", None)
    await bus.send_raw(f"{bus.domain}.v1.Happened.b", b"", {"Status": "1", "x": "ü"})
    delivered = await bus.fetch(2)
    assert [(m.subject, m.data, m.headers) for m in await bus.stored()] == [
        (m.subject, m.data, m.headers) for m in delivered
    ]


async def test_the_bounds_contain_the_age_limit_and_0_for_none(bus: Bus) -> None:
    reader = bus.broker.stream_reader(bus.stream)
    assert (await reader.bounds()).max_age_seconds == 3600
    js = (await bus.administrator()).jetstream()
    config: StreamConfig = (await js.stream_info(bus.stream)).config
    config.max_age = 0
    await js.update_stream(config)
    assert (await reader.bounds()).max_age_seconds == 0
