"""Protobuf messages: conversion to and from bus events."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from contract.v1 import options_pb2
from eventbus import Event, KeyContradiction, MalformedEnvelope, Payload
from runtime.ids import new_id
from runtime.violations import sentences, violations

_EPOCH, _SECONDS_PER_DAY = datetime(1970, 1, 1, tzinfo=UTC), 86_400
# Of the years 1 and 9999.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


class NotAnEvent(TypeError):
    """The message is not marked as an event in its contract."""


def to_timestamp(moment: datetime) -> Timestamp:
    """A UTC-aware datetime as a protobuf Timestamp."""
    since = moment - _EPOCH
    return Timestamp(
        seconds=since.days * _SECONDS_PER_DAY + since.seconds, nanos=since.microseconds * 1000
    )


def to_datetime(timestamp: Timestamp) -> datetime:
    """A protobuf Timestamp as a UTC-aware datetime; raises ValueError if it is no valid time."""
    seconds, nanos = timestamp.seconds, timestamp.nanos
    if _FIRST_SECOND <= seconds <= _LAST_SECOND and 0 <= nanos < 10**9:
        # A sixth of the time of `ToDatetime`.
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    return timestamp.ToDatetime(tzinfo=UTC)  # raises


@lru_cache
def _options(descriptor: Descriptor) -> options_pb2.Event:
    options = descriptor.GetOptions()
    if not options.HasExtension(options_pb2.event):
        raise NotAnEvent(descriptor.full_name)
    return options.Extensions[options_pb2.event]


def to_event(message: Message, source: str, occurred_at: datetime) -> Event:
    """A contract message as an event; its options name the key field."""
    options = _options(message.DESCRIPTOR)
    return Event(
        id=new_id("evt"),
        type=message.DESCRIPTOR.full_name,
        key=getattr(message, options.key_field) if options.key_field else "",
        data=message.SerializeToString(deterministic=True),
        occurred_at=occurred_at,
        source=source,
    )


def decoder(message_type: type[Message]) -> Callable[[Event], Payload]:
    """A decoder for one event type: parses the body, validates it, and compares its key."""
    options = _options(message_type.DESCRIPTOR)

    def decode(event: Event) -> Payload:
        message = message_type()
        try:
            message.ParseFromString(event.data)
        except DecodeError as error:
            raise MalformedEnvelope(f"body is not a {event.type}: {error}") from None
        key = getattr(message, options.key_field) if options.key_field else ""
        if key and key != event.key:
            raise _contradiction(event, key)
        if broken := violations(message):
            raise MalformedEnvelope(sentences(broken))
        if key != event.key:
            raise _contradiction(event, key)
        return Payload(message, options.aggregate, _version(message, options.version_field))

    return decode


def _contradiction(event: Event, key: str) -> KeyContradiction:
    return KeyContradiction(f"the subject's key is {event.key!r}, the body's {key!r}")


def _version(message: Message, path: str) -> int:
    value: Any = message
    for name in filter(None, path.split(".")):
        value = getattr(value, name)
    return value if isinstance(value, int) else 0
