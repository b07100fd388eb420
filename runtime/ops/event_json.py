"""Events as JSON for operators; secrets are masked unless revealed."""

import importlib

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from runtime.redaction import mask_message


class Undecodable(ValueError):
    """The data cannot be decoded as that type."""


def to_json(event_type: str, data: bytes, *, reveal: bool = False) -> str:
    """One line of JSON with the contract's field names; raises Undecodable."""
    try:
        # A package declares its events in its events.proto.
        importlib.import_module(f"{event_type.rpartition('.')[0]}.events_pb2")
        descriptor = descriptor_pool.Default().FindMessageTypeByName(event_type)
    except (ImportError, KeyError, TypeError, ValueError):  # such as a name without a package
        raise Undecodable(f"unknown type {event_type}") from None
    try:
        message = message_factory.GetMessageClass(descriptor).FromString(data)
    except DecodeError as error:
        raise Undecodable(f"not a {event_type}: {error}") from None
    if not reveal:
        mask_message(message)
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None, ensure_ascii=False
    )
