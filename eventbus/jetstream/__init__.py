"""NATS JetStream as the broker. Only this package imports nats."""

from eventbus.jetstream.admin import apply, check_jetstream, connect, subscribe
from eventbus.jetstream.binding import JetStream
from eventbus.jetstream.login import BrokerLogin, InvalidBrokerLogin
from eventbus.jetstream.pull_consumer import JetStreamPullConsumer
from eventbus.jetstream.stream_reader import JetStreamStreamReader

__all__ = [
    "BrokerLogin",
    "InvalidBrokerLogin",
    "JetStream",
    "JetStreamPullConsumer",
    "JetStreamStreamReader",
    "apply",
    "check_jetstream",
    "connect",
    "subscribe",
]
