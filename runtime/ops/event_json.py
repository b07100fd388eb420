"""Events as JSON for operators; secrets are masked unless revealed."""

import importlib

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message

from runtime.redaction import mask_message


class Undecodable(ValueError):
    """The data cannot be decoded as that type."""


def event_class(event_type: str) -> type[Message]:
    """The generated class of an event; raises Undecodable."""
    try:
        # A package declares its events in its events.proto.
        importlib.import_module(f"{event_type.rpartition('.')[0]}.events_pb2")
        descriptor = descriptor_pool.Default().FindMessageTypeByName(event_type)
    except (ImportError, KeyError, TypeError, ValueError):  # such as a name without a package
        raise Undecodable(f"unknown type {event_type}") from None
    return message_factory.GetMessageClass(descriptor)


def to_json(event_type: str, data: bytes, *, reveal: bool = False) -> str:
    """One line of JSON with the contract's field names; raises Undecodable."""
    message_type = event_class(event_type)
    try:
        message = message_type.FromString(data)
    except DecodeError as error:
        raise Undecodable(f"not a {event_type}: {error}") from None
    if not reveal:
        mask_message(message)
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None, ensure_ascii=False
    )
