"""NATS JetStream as the broker. The only package of the project that imports nats."""

from eventbus.jetstream.address import check as check_address
from eventbus.jetstream.administration import apply, connect, look_on
from eventbus.jetstream.connection import JetStream
from eventbus.jetstream.reader import JetStreamReader
from eventbus.jetstream.source import JetStreamSource

__all__ = [
    "JetStream",
    "JetStreamReader",
    "JetStreamSource",
    "apply",
    "check_address",
    "connect",
    "look_on",
]
