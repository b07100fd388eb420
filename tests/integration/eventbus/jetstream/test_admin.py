"""Declaring streams and consumers on a server that is no cluster."""

from dataclasses import replace

import pytest

from devstack.stack import Stack
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import apply, connect
from eventbus.topology import ConsumerSpec, StreamSpec, Topology

STREAM = StreamSpec("ADMIN", ["admin.v1.>"], 1, 1_000_000, 60, 1)
TOPOLOGY = Topology([STREAM], [ConsumerSpec("reader", STREAM.name, [], 30, 1000)])


async def test_replicas_that_the_server_cannot_have_are_refused(servers: Stack) -> None:
    """In words that an operator understands; the stream stays as it is."""
    client = await connect(servers.nats_login("admin"), "test", 10)
    try:
        await apply(client, TOPOLOGY)
        problem = "stream ADMIN cannot be applied: the broker is no cluster"
        with pytest.raises(BrokerUnavailable, match=problem):
            await apply(client, TOPOLOGY.with_replicas(3))
        info = await client.jetstream().stream_info(STREAM.name)
        assert info.config.num_replicas == 1
        await apply(client, TOPOLOGY)
    finally:
        await client.jetstream().delete_stream(STREAM.name)
        await client.close()


async def test_a_store_that_is_too_small_is_named(servers: Stack) -> None:
    """Streams reserve their max_bytes."""
    client = await connect(servers.nats_login("admin"), "test", 10)
    try:
        too_large = Topology([replace(STREAM, max_bytes=10**12)], [])
        with pytest.raises(BrokerUnavailable, match="insufficient storage resources"):
            await apply(client, too_large)
    finally:
        await client.close()
