import datetime

from buf.validate import validate_pb2 as _validate_pb2
from contract.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from interview.v1 import session_pb2 as _session_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionPrepared(_message.Message):
    __slots__ = ("session_id", "order_id", "access_code_id", "product_id", "prepared_at")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CODE_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    PREPARED_AT_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    order_id: str
    access_code_id: str
    product_id: str
    prepared_at: _timestamp_pb2.Timestamp
    def __init__(self, session_id: _Optional[str] = ..., order_id: _Optional[str] = ..., access_code_id: _Optional[str] = ..., product_id: _Optional[str] = ..., prepared_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class InterviewStarted(_message.Message):
    __slots__ = ("session_id", "access_code", "order_id", "access_code_id", "started_at", "validated_by")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CODE_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CODE_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    VALIDATED_BY_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    access_code: str
    order_id: str
    access_code_id: str
    started_at: _timestamp_pb2.Timestamp
    validated_by: _session_pb2.ValidationSource
    def __init__(self, session_id: _Optional[str] = ..., access_code: _Optional[str] = ..., order_id: _Optional[str] = ..., access_code_id: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., validated_by: _Optional[_Union[_session_pb2.ValidationSource, str]] = ...) -> None: ...
