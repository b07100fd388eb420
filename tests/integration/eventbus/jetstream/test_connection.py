"""The connection recovers from any error of the server, and the log has the reason."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from devstack.polling import wait_until
from eventbus import Event
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import BrokerLogin, JetStream, apply, connect
from eventbus.topology import ConsumerSpec, StreamSpec, Topology
from tests.integration.drivers.nats_servers import (
    ADMIN_PASSWORD,
    ConfigurableServer,
    configurable_server,
    scripted_server,
)

PASSWORD, OTHER_PASSWORD = "password", "other-password"
STREAM = StreamSpec("CONNECTION", ["connection.>"], 1, 1_000_000, 120, 1)
LISTENER = ConsumerSpec("listener", STREAM.name, [], 30, 1000)


def event(number: int) -> Event:
    return Event(f"evt_{number}", "connection.v1.Happened", "", b"", datetime.now(UTC), "test", "")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[JetStream]:
    broker = JetStream(BrokerLogin.parse(url, "service", PASSWORD), "connection")
    broker.open()
    try:
        yield broker
    finally:
        await broker.close()


async def wait_for_disconnection(broker: JetStream) -> None:
    async def disconnected() -> bool:
        return not broker.connected

    await wait_until(disconnected, "disconnected")


async def wait_for_reconnection(broker: JetStream, logs: Sequence[EventDict]) -> None:
    """Waits until the client is connected and has logged it."""

    async def reconnected() -> bool:
        return broker.connected and "broker reconnected" in {line["event"] for line in logs}

    await wait_until(reconnected, "reconnected")


async def declare(server: ConfigurableServer) -> None:
    client = await connect(BrokerLogin.parse(server.url, "admin", ADMIN_PASSWORD), "tests", 10)
    try:
        await apply(client, Topology([STREAM], [LISTENER]))
    finally:
        await client.close()


async def test_publishing_and_consuming_resume_after_the_password_was_wrong(
    tmp_path: Path,
) -> None:
    async with configurable_server(tmp_path, PASSWORD) as server:
        await declare(server)
        async with opened(server.url) as broker:
            await broker.wait_connected(10)
            consumer = broker.pull_consumer(STREAM.name, LISTENER.name)
            await broker.publish(event(1))
            [first] = await consumer.fetch(10, 1.0)
            await consumer.ack(first)

            async def acknowledged() -> bool:
                return (await consumer.lag()).unacknowledged == 0

            await wait_until(acknowledged, "the acknowledgement")
            with capture_logs() as logs:
                server.change_password(OTHER_PASSWORD)
                await wait_for_disconnection(broker)
                with pytest.raises(BrokerUnavailable):
                    await broker.publish(event(2))
                server.change_password(PASSWORD)
                await wait_for_reconnection(broker, logs)
            await broker.publish_batch([event(2), event(3)])
            fetched = await consumer.fetch(10, 1.0)
            assert [message.headers["ce-id"] for message in fetched] == ["evt_2", "evt_3"]
            lag = await consumer.lag()
            assert (lag.pending, lag.unacknowledged) == (0, 2)
    [disconnected] = [line for line in logs if line["event"] == "broker disconnected"]
    assert "authorization violation" in disconnected["reason"]
    assert PASSWORD not in str(logs)


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
async def test_the_client_reconnects_after_any_server_error(error: str) -> None:
    async with scripted_server(f"-ERR '{error}'\r\n".encode()) as server:
        with capture_logs() as logs:
            async with opened(server.url) as broker:
                await wait_for_reconnection(broker, logs)
                assert server.sent_count == 1
    first = next(line for line in logs if line["event"] == "broker disconnected")
    assert error.partition(" ")[0].lower() in first["reason"].lower()


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO\r\n", b"INFO 1\r\n"]
)
async def test_the_client_keeps_trying_while_the_peer_is_not_a_nats_server(greeting: bytes) -> None:
    """Before the first connection, and after it."""
    error = b"-ERR 'Slow Consumer'\r\n"
    async with scripted_server(greeting, error, greeting) as server, opened(server.url) as broker:

        async def connected() -> bool:
            return server.sent_count == 3 and broker.connected

        await wait_until(connected, "connected")


async def test_credentials_in_an_address_are_not_logged() -> None:
    async with scripted_server(b"-ERR 'Slow Consumer'\r\n") as server:
        with capture_logs() as logs:
            url = server.url.replace("//", "//me:secret@")
            async with opened(url) as broker:
                await wait_for_reconnection(broker, logs)
            with pytest.raises(BrokerUnavailable) as unavailable:
                broker.client()
            with pytest.raises(BrokerUnavailable) as no_broker:
                await connect(BrokerLogin.parse("nats://me:secret@127.0.0.1:1"), "x", 1)
    assert "secret" not in f"{logs} {unavailable.value} {no_broker.value}"


async def test_each_of_several_servers_is_named_with_its_own_cause() -> None:
    """Whichever was tried last; by the command that connects once, and by services."""
    greeting = b"INFO 1\r\n"
    async with scripted_server(*[greeting] * 1000) as server:
        address = server.url.partition("//")[2]
        login = BrokerLogin.parse(f"nats://127.0.0.1:1,{server.url}", "service", PASSWORD)
        with pytest.raises(BrokerUnavailable) as once:
            await connect(login, "test", 1)
        with capture_logs():
            async with opened(login.address) as broker:
                with pytest.raises(BrokerUnavailable) as always:
                    await broker.wait_connected(1.5)
    for unavailable in (once, always):
        assert re.search(r"127\.0\.0\.1:1: .*Connect call failed", str(unavailable.value))
        assert f"; {address}: peer is not a NATS server" in str(unavailable.value)


async def test_a_server_that_refuses_the_log_in_does_not_hide_one_that_accepts_it(
    tmp_path: Path,
) -> None:
    """In whichever order they are tried."""
    async with (
        configurable_server(tmp_path, PASSWORD) as server,
        scripted_server(*[b"INFO 1\r\n"] * 1000) as other,
    ):
        for _ in range(4):
            login = BrokerLogin.parse(f"{other.url},{server.url}", "service", PASSWORD)
            client = await connect(login, "test", 10)
            assert not client.options["allow_reconnect"]
            await client.close()
