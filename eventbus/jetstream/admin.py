"""Administration: creates streams and durable consumers, and observes subjects."""

import asyncio
import time
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ClusterInfo,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError, ServiceUnavailableError

from eventbus.broker import BrokerUnavailable
from eventbus.jetstream.client import ReconnectingClient, describe
from eventbus.jetstream.login import BrokerLogin
from eventbus.topology import ConsumerSpec, StreamSpec, Topology

_RETRY_SECONDS = 0.1
_REPLICATION_SECONDS = 60.0


async def connect(login: BrokerLogin, name: str, seconds: float) -> Client:
    """A connected client that does not reconnect; raises BrokerUnavailable.

    It tries each server until one accepts a connection, for at most the given time. The error
    names the cause of each.
    """
    client = ReconnectingClient()

    try:
        async with asyncio.timeout(seconds):
            await client.connect(
                **login.connect_options(),
                name=name,
                # Without it, the library gives up when the first server refuses the log-in.
                allow_reconnect=len(login.servers) > 1,
                reconnect_time_wait=_RETRY_SECONDS,
                error_cb=_ignore,
            )
    except (NatsError, OSError, TimeoutError) as error:
        reason = client.problems or describe(error)  # a time-out has causes, too
        raise BrokerUnavailable(f"no broker at {login.address}: {reason}") from error
    client.options["allow_reconnect"] = False
    return client


async def _ignore(_error: Exception) -> None:
    """The client keeps the errors of connecting, by server."""


async def check_jetstream(client: Client) -> None:
    """Raises BrokerUnavailable unless JetStream answers."""
    try:
        await client.jetstream().account_info()
    except (NatsError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise BrokerUnavailable(f"JetStream is not available: {reason}") from error


async def subscribe(client: Client, subject: str, on_message: Callable[[Msg], None]) -> None:
    """Calls back for each message published on matching subjects from now on, stored or not."""

    async def receive(message: Msg) -> None:
        on_message(message)

    await client.subscribe(subject, cb=receive)
    await client.flush()


async def apply(client: Client, topology: Topology) -> None:
    """Creates or updates streams and durable consumers, and waits for their replicas; idempotent.

    Raises BrokerUnavailable.
    """
    jetstream = client.jetstream()
    name = ""
    try:
        for stream in topology.streams:
            name = f"stream {stream.name}"
            await _apply_stream(jetstream, _stream_config(stream))
        for consumer in topology.consumers:
            name = f"consumer {consumer.name} of stream {consumer.stream}"
            await jetstream.add_consumer(consumer.stream, _consumer_config(consumer))
        name = "the replicas"
        await _wait_for_replicas(jetstream, topology)
    except NatsError as error:
        raise BrokerUnavailable(f"{name} cannot be applied: {_reason(error)}") from error


async def _apply_stream(jetstream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await jetstream.stream_info(str(config.name))
        await jetstream.update_stream(config)
    except NotFoundError:
        await jetstream.add_stream(config)


async def _wait_for_replicas(jetstream: JetStreamContext, topology: Topology) -> None:
    """Waits until each replica has what is stored now; raises BrokerUnavailable."""
    deadline = time.monotonic() + _REPLICATION_SECONDS
    while late := await _late_replicas(jetstream, topology):
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"replicas are not current: {', '.join(late)}")
        await asyncio.sleep(_RETRY_SECONDS)


async def _late_replicas(jetstream: JetStreamContext, topology: Topology) -> list[str]:
    """The streams and consumers of which a replica is missing or not current."""
    wanted = {spec.name: spec.replicas for spec in topology.streams}
    clusters = {
        f"stream {n}": ((await jetstream.stream_info(n)).cluster, wanted[n]) for n in wanted
    }
    for spec in topology.consumers:
        if spec.stream in wanted:
            info = await jetstream.consumer_info(spec.stream, spec.name)
            name = f"consumer {spec.name} of stream {spec.stream}"
            clusters[name] = info.cluster, wanted[spec.stream]
    return [name for name, (found, count) in clusters.items() if not _has_current(found, count)]


def _has_current(cluster: ClusterInfo | None, replicas: int) -> bool:
    """Whether there are so many replicas, and each has what the leader has; None is one server."""
    followers = (cluster.replicas or []) if cluster else []
    return len(followers) == replicas - 1 and all(peer.current for peer in followers)


def _reason(error: NatsError) -> str:
    """Why JetStream refused a request, for an operator."""
    match getattr(error, "err_code", None):
        case 10074:
            return "the broker is no cluster: it stores one replica only"
        case 10005:
            return f"the cluster has too few servers for the replicas: {error}"
    if isinstance(error, TimeoutError | ServiceUnavailableError):
        return "the cluster has no leader, since fewer than half of its servers are up: no reply"
    return str(error) or type(error).__name__


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
        # For people who look at past events without a consumer. The replies are raw events, sent to
        # any reply subject that the caller names: the broker's permissions keep services off.
        allow_direct=True,
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
        # A consumer without a number of its own gets more or fewer replicas with its stream.
        num_replicas=0,
    )
