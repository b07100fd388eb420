from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
EVENT_FIELD_NUMBER: _ClassVar[int]
event: _descriptor.FieldDescriptor

class Event(_message.Message):
    __slots__ = ("key_field", "aggregate", "version_field")
    KEY_FIELD_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_FIELD_NUMBER: _ClassVar[int]
    key_field: str
    aggregate: str
    version_field: str
    def __init__(self, key_field: _Optional[str] = ..., aggregate: _Optional[str] = ..., version_field: _Optional[str] = ...) -> None: ...
