"""Administration: creates streams and durable consumers, and observes subjects."""

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
    """A connected client that does not reconnect; raises BrokerUnavailable."""
    try:
        return await asyncio.wait_for(
            nats.connect(url, user=user, password=password, name=name, allow_reconnect=False),
            seconds,
        )
    except (NatsError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise BrokerUnavailable(f"no broker at {without_credentials(url)}: {reason}") from error


async def subscribe(client: Client, subject: str, on_message: Callable[[Msg], None]) -> None:
    """Calls back for each message published on matching subjects from now on, stored or not."""

    async def receive(message: Msg) -> None:
        on_message(message)

    await client.subscribe(subject, cb=receive)
    await client.flush()


async def apply(client: Client, topology: Topology) -> None:
    """Creates or updates streams and durable consumers; idempotent."""
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
        # A full stream refuses new messages, which wait in the outbox: unhandled ones are not lost.
        discard=DiscardPolicy.NEW,
        max_age=stream.max_age_hours * 3600,
        max_bytes=stream.max_bytes,
        duplicate_window=stream.duplicate_window_seconds,
        num_replicas=stream.replicas,
        allow_atomic=stream.atomic,
        # Direct replies are raw events, sent to any reply subject that the caller names.
        allow_direct=False,
    )


def _consumer_config(consumer: ConsumerSpec) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=consumer.name,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        # The consumer counts attempts; after max_deliver the server would drop unhandled messages.
        max_deliver=-1,
        ack_wait=consumer.ack_wait_seconds,
        max_ack_pending=consumer.max_ack_pending,
        filter_subjects=consumer.filter_subjects,
    )
