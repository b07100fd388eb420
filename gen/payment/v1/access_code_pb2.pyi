import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AccessCodeStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCESS_CODE_STATUS_UNSPECIFIED: _ClassVar[AccessCodeStatus]
    ACCESS_CODE_STATUS_ACTIVE: _ClassVar[AccessCodeStatus]
    ACCESS_CODE_STATUS_REDEEMED: _ClassVar[AccessCodeStatus]
    ACCESS_CODE_STATUS_EXPIRED: _ClassVar[AccessCodeStatus]
    ACCESS_CODE_STATUS_SUSPENDED: _ClassVar[AccessCodeStatus]
    ACCESS_CODE_STATUS_REVOKED: _ClassVar[AccessCodeStatus]
ACCESS_CODE_STATUS_UNSPECIFIED: AccessCodeStatus
ACCESS_CODE_STATUS_ACTIVE: AccessCodeStatus
ACCESS_CODE_STATUS_REDEEMED: AccessCodeStatus
ACCESS_CODE_STATUS_EXPIRED: AccessCodeStatus
ACCESS_CODE_STATUS_SUSPENDED: AccessCodeStatus
ACCESS_CODE_STATUS_REVOKED: AccessCodeStatus

class AccessCode(_message.Message):
    __slots__ = ("id", "code", "status", "expire_at", "order_id", "product_id", "version", "issued_at", "redeemed_session_id", "redeemed_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_AT_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    REDEEMED_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REDEEMED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    code: str
    status: AccessCodeStatus
    expire_at: _timestamp_pb2.Timestamp
    order_id: str
    product_id: str
    version: int
    issued_at: _timestamp_pb2.Timestamp
    redeemed_session_id: str
    redeemed_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., code: _Optional[str] = ..., status: _Optional[_Union[AccessCodeStatus, str]] = ..., expire_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., order_id: _Optional[str] = ..., product_id: _Optional[str] = ..., version: _Optional[int] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., redeemed_session_id: _Optional[str] = ..., redeemed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Recipient(_message.Message):
    __slots__ = ("email", "display_name", "language_code")
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    email: str
    display_name: str
    language_code: str
    def __init__(self, email: _Optional[str] = ..., display_name: _Optional[str] = ..., language_code: _Optional[str] = ...) -> None: ...
