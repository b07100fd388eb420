import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValidationSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VALIDATION_SOURCE_UNSPECIFIED: _ClassVar[ValidationSource]
    VALIDATION_SOURCE_PAYMENT: _ClassVar[ValidationSource]
    VALIDATION_SOURCE_LOCAL_CACHE: _ClassVar[ValidationSource]

class SessionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATUS_UNSPECIFIED: _ClassVar[SessionStatus]
    SESSION_STATUS_PREPARED: _ClassVar[SessionStatus]
    SESSION_STATUS_IN_PROGRESS: _ClassVar[SessionStatus]
    SESSION_STATUS_COMPLETED: _ClassVar[SessionStatus]
    SESSION_STATUS_EVALUATED: _ClassVar[SessionStatus]
    SESSION_STATUS_EXPIRED: _ClassVar[SessionStatus]
    SESSION_STATUS_CANCELLED: _ClassVar[SessionStatus]
VALIDATION_SOURCE_UNSPECIFIED: ValidationSource
VALIDATION_SOURCE_PAYMENT: ValidationSource
VALIDATION_SOURCE_LOCAL_CACHE: ValidationSource
SESSION_STATUS_UNSPECIFIED: SessionStatus
SESSION_STATUS_PREPARED: SessionStatus
SESSION_STATUS_IN_PROGRESS: SessionStatus
SESSION_STATUS_COMPLETED: SessionStatus
SESSION_STATUS_EVALUATED: SessionStatus
SESSION_STATUS_EXPIRED: SessionStatus
SESSION_STATUS_CANCELLED: SessionStatus

class QuestionSet(_message.Message):
    __slots__ = ("question_set_id", "version", "language_code", "question_count")
    QUESTION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    QUESTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    question_set_id: str
    version: int
    language_code: str
    question_count: int
    def __init__(self, question_set_id: _Optional[str] = ..., version: _Optional[int] = ..., language_code: _Optional[str] = ..., question_count: _Optional[int] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("session_id", "order_id", "customer_id", "product_id", "status", "access_code_id", "question_set", "prepared_at", "started_at", "validated_by")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CODE_ID_FIELD_NUMBER: _ClassVar[int]
    QUESTION_SET_FIELD_NUMBER: _ClassVar[int]
    PREPARED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    VALIDATED_BY_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    order_id: str
    customer_id: str
    product_id: str
    status: SessionStatus
    access_code_id: str
    question_set: QuestionSet
    prepared_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    validated_by: ValidationSource
    def __init__(self, session_id: _Optional[str] = ..., order_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., product_id: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., access_code_id: _Optional[str] = ..., question_set: _Optional[_Union[QuestionSet, _Mapping]] = ..., prepared_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., validated_by: _Optional[_Union[ValidationSource, str]] = ...) -> None: ...
