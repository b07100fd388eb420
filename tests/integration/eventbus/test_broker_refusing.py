"""The connection is kept up whatever the broker says no to, and the log tells why it was lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from devstack.polling import wait_until
from eventbus import Event
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import JetStream, apply, connect
from eventbus.topology import ConsumerSpec, StreamSpec, Topology
from tests.integration.nats_servers import ADMIN, OwnServer, own_server, pretender

RIGHT, WRONG = "right-password", "wrong-password"
STREAM = StreamSpec("REFUSING", ["refusing.>"], 1, 1_000_000, 120, 1)
LISTENER = ConsumerSpec("listener", STREAM.name, [], 30, 1000)


def event(number: int) -> Event:
    return Event(f"evt_{number}", "refusing.v1.Happened", "", b"", datetime.now(UTC), "test", "")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[JetStream]:
    broker = JetStream(url, "service", RIGHT, "refusing")
    broker.open()
    try:
        yield broker
    finally:
        await broker.close()


async def is_connected(broker: JetStream, wanted: bool = True) -> None:
    async def so() -> bool:
        return broker.connected is wanted

    await wait_until(so, "connected" if wanted else "disconnected")


async def declare(server: OwnServer) -> None:
    client = await connect(server.url, "admin", ADMIN, "tests", 10)
    try:
        await apply(client, Topology([STREAM], [LISTENER]))
    finally:
        await client.close()


async def test_publishing_and_consuming_go_on_after_a_password_was_wrong_for_a_while(
    tmp_path: Path,
) -> None:
    async with own_server(tmp_path, RIGHT) as server:
        await declare(server)
        async with opened(server.url) as broker:
            await broker.wait_connected(10)
            source = broker.pull_consumer(STREAM.name, LISTENER.name)
            await broker.publish(event(1))
            [first] = await source.fetch(10, 1.0)
            await source.ack(first)

            async def acknowledged() -> bool:
                return (await source.lag()).unacknowledged == 0

            await wait_until(acknowledged, "the broker took the acknowledgement")
            with capture_logs() as logs:
                server.change_password(WRONG)
                await is_connected(broker, wanted=False)
                with pytest.raises(BrokerUnavailable):
                    await broker.publish(event(2))
                server.change_password(RIGHT)
                await is_connected(broker)
            await broker.publish_batch([event(2), event(3)])
            again = await source.fetch(10, 1.0)
            assert [message.headers["ce-id"] for message in again] == ["evt_2", "evt_3"]
            lag = await source.lag()
            assert (lag.pending, lag.unacknowledged) == (0, 2)
    [lost] = [line for line in logs if line["event"] == "broker disconnected"]
    assert "authorization violation" in lost["reason"]
    assert "broker reconnected" in {line["event"] for line in logs}
    assert RIGHT not in str(logs)


@pytest.mark.parametrize(
    "error",
    [
        "User Authentication Expired",
        "Slow Consumer",
        "maximum connections exceeded",
        "Authorization Violation",
        "Stale Connection",
        "Unknown Protocol Operation",
    ],
)
async def test_after_any_error_the_client_connects_again(error: str) -> None:
    async with pretender(f"-ERR '{error}'\r\n".encode()) as server:
        with capture_logs() as logs:
            async with opened(server.url) as broker:

                async def back() -> bool:
                    return "broker reconnected" in {line["event"] for line in logs}

                await wait_until(back, "connected again")
                assert broker.connected
                assert server.played == 1
    first = next(line for line in logs if line["event"] == "broker disconnected")
    assert error.partition(" ")[0].lower() in first["reason"].lower()


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO\r\n", b"INFO 1\r\n"]
)
async def test_what_answers_in_the_brokers_place_is_waited_out(greeting: bytes) -> None:
    """Before the first connection, and after it."""
    error = b"-ERR 'Slow Consumer'\r\n"
    async with pretender(greeting, error, greeting) as server, opened(server.url) as broker:

        async def all_played() -> bool:
            return server.played == 3 and broker.connected

        await wait_until(all_played, "connected in the end")


async def test_an_address_that_is_none_is_told_and_doesnt_spoil_the_end() -> None:
    with capture_logs() as logs:
        broker = JetStream("nats://me:secret@localhost:abc", "service", RIGHT, "refusing")
        broker.open()
        with pytest.raises(BrokerUnavailable, match="invalid connect url"):
            await broker.wait_connected(10)
        await broker.close()
    assert [line["event"] for line in logs] == ["broker can't be connected"]
    assert logs[0]["url"] == "nats://localhost:abc"


async def test_credentials_in_an_address_are_never_logged() -> None:
    async with pretender(b"-ERR 'Slow Consumer'\r\n") as server:
        with capture_logs() as logs:
            url = server.url.replace("//", "//me:secret@")
            async with opened(url) as broker:

                async def back() -> bool:
                    return "broker reconnected" in {line["event"] for line in logs}

                await wait_until(back, "connected again")
            with pytest.raises(BrokerUnavailable) as unavailable:
                broker.client()
            with pytest.raises(BrokerUnavailable) as no_broker:
                await connect("nats://me:secret@127.0.0.1:1", "u", "p", "x", 5)
    assert "secret" not in f"{logs} {unavailable.value} {no_broker.value}"
