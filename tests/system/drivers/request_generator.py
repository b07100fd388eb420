"""Hypothesis strategies for requests, derived from the contracts' descriptors."""

import string
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

_ULID = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26)
_IDS = st.builds(
    lambda prefix, rest: f"{prefix}_{rest}",
    st.sampled_from(["ord", "pay", "acc", "ses", "ntf", "dlq", "evt"]),
    _ULID,
)
_TYPICAL = st.sampled_from(
    [
        "backend-60",
        "CNY",
        "USD",
        "zh-CN",
        "en",
        "sandbox_approve",
        "li.hua",
        "a@example.com",
        "0000-0000-0000-0000",
        "request-1",
    ]
)
_ARBITRARY = st.text(max_size=200) | st.text(string.printable, max_size=300)
_LONG = st.integers(1000, 200_000).map(lambda length: "x" * length)
_STRINGS = st.one_of(_TYPICAL, _IDS, _TYPICAL, _IDS, _ARBITRARY, st.just("\x00"), _LONG)


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return st.binary(max_size=500)
        case FieldDescriptor.CPPTYPE_STRING:
            return _STRINGS
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_INT64:
            return st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 20000)
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.integers(-(2**31), 2**31 - 1) | st.integers(0, 8)
    return st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 600)


@st.composite
def _messages(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if not draw(st.integers(0, 3)):
            continue
        if field.message_type is None:
            value = draw(_scalars(field))
            setattr(message, field.name, value)
        elif field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update(
                draw(st.dictionaries(_ARBITRARY, _ARBITRARY, max_size=3))
            )
        elif field.is_repeated:
            entries = draw(st.lists(_messages(field.message_type), max_size=3))
            getattr(message, field.name).extend(entries)
        else:
            getattr(message, field.name).CopyFrom(draw(_messages(field.message_type)))
    return message


def requests(descriptor: Descriptor) -> st.SearchStrategy[bytes]:
    """Encoded requests: mostly well-formed messages with random content, some random bytes."""
    encoded = _messages(descriptor).map(lambda message: message.SerializeToString())
    truncated = st.builds(lambda body, cut: body[:cut], encoded, st.integers(0, 40))
    return st.one_of(encoded, encoded, encoded, truncated, st.binary(max_size=100))
