"""NATS JetStream as the broker. Only this package imports nats."""

from eventbus.jetstream.address import check_address
from eventbus.jetstream.admin import apply, connect, subscribe
from eventbus.jetstream.binding import JetStream
from eventbus.jetstream.pull_consumer import JetStreamPullConsumer
from eventbus.jetstream.stream_reader import JetStreamStreamReader

__all__ = [
    "JetStream",
    "JetStreamPullConsumer",
    "JetStreamStreamReader",
    "apply",
    "check_address",
    "connect",
    "subscribe",
]
