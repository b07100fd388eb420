"""Looking on, and declaring streams and consumers: as an administrator, not as a service."""

import asyncio
from collections.abc import Callable

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from eventbus.broker import BrokerUnavailable
from eventbus.jetstream.address import without_credentials
from eventbus.topology import ConsumerSpec, StreamSpec, Topology


async def connect(url: str, user: str, password: str, name: str, seconds: float) -> Client:
    """A plain connected client, for looking on and for administration; raises BrokerUnavailable."""
    try:
        return await asyncio.wait_for(
            nats.connect(url, user=user, password=password, name=name, allow_reconnect=False),
            seconds,
        )
    except (NatsError, OSError, TimeoutError) as error:
        place = without_credentials(url)
        raise BrokerUnavailable(f"no broker at {place}: {error or type(error).__name__}") from error


async def subscribe(client: Client, subject: str, see: Callable[[Msg], None]) -> None:
    """Shows each message that is published on matching subjects from now on, stored or not."""

    async def receive(message: Msg) -> None:
        see(message)

    await client.subscribe(subject, cb=receive)
    await client.flush()


async def apply(client: Client, topology: Topology) -> None:
    """Declares streams and consumers; run again, it changes only what differs."""
    jetstream = client.jetstream()
    for stream in topology.streams:
        config = _stream_config(stream)
        try:
            await jetstream.stream_info(stream.name)
            await jetstream.update_stream(config)
        except NotFoundError:
            await jetstream.add_stream(config)
    for consumer in topology.consumers:
        await jetstream.add_consumer(consumer.stream, _consumer_config(consumer))


def _stream_config(stream: StreamSpec) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=stream.subjects,
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        # A full stream refuses, so the outbox holds; discarding old would drop unhandled events.
        discard=DiscardPolicy.NEW,
        max_age=stream.max_age_hours * 3600,
        max_bytes=stream.max_bytes,
        duplicate_window=stream.duplicate_window_seconds,
        num_replicas=stream.replicas,
        allow_atomic=stream.atomic,
        # Direct replies are raw events, and go to whatever subject the caller names.
        allow_direct=False,
    )


def _consumer_config(consumer: ConsumerSpec) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=consumer.name,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        # The application counts attempts: beyond max_deliver a message would vanish unhandled.
        max_deliver=-1,
        ack_wait=consumer.ack_wait_seconds,
        max_ack_pending=consumer.max_ack_pending,
        filter_subjects=consumer.filter_subjects,
    )
