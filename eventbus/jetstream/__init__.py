"""NATS JetStream as the broker. The only package of the project that imports nats."""

from eventbus.jetstream.address import check as check_address
from eventbus.jetstream.admin import apply, connect, look_on
from eventbus.jetstream.connection import JetStream
from eventbus.jetstream.pull_consumer import JetStreamSource
from eventbus.jetstream.stream_reader import JetStreamReader

__all__ = [
    "JetStream",
    "JetStreamReader",
    "JetStreamSource",
    "apply",
    "check_address",
    "connect",
    "look_on",
]
