import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from payment.v1 import access_code_pb2 as _access_code_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValidationReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VALIDATION_REASON_UNSPECIFIED: _ClassVar[ValidationReason]
    VALIDATION_REASON_VALID: _ClassVar[ValidationReason]
    VALIDATION_REASON_MALFORMED: _ClassVar[ValidationReason]
    VALIDATION_REASON_NOT_FOUND: _ClassVar[ValidationReason]
    VALIDATION_REASON_REVOKED: _ClassVar[ValidationReason]
    VALIDATION_REASON_SUSPENDED: _ClassVar[ValidationReason]
    VALIDATION_REASON_REDEEMED: _ClassVar[ValidationReason]
    VALIDATION_REASON_EXPIRED: _ClassVar[ValidationReason]
    VALIDATION_REASON_PRODUCT_MISMATCH: _ClassVar[ValidationReason]
VALIDATION_REASON_UNSPECIFIED: ValidationReason
VALIDATION_REASON_VALID: ValidationReason
VALIDATION_REASON_MALFORMED: ValidationReason
VALIDATION_REASON_NOT_FOUND: ValidationReason
VALIDATION_REASON_REVOKED: ValidationReason
VALIDATION_REASON_SUSPENDED: ValidationReason
VALIDATION_REASON_REDEEMED: ValidationReason
VALIDATION_REASON_EXPIRED: ValidationReason
VALIDATION_REASON_PRODUCT_MISMATCH: ValidationReason

class ValidateAccessCodeRequest(_message.Message):
    __slots__ = ("access_code", "product_id")
    ACCESS_CODE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    access_code: str
    product_id: str
    def __init__(self, access_code: _Optional[str] = ..., product_id: _Optional[str] = ...) -> None: ...

class ValidateAccessCodeResponse(_message.Message):
    __slots__ = ("valid", "reason", "record", "as_of")
    VALID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    valid: bool
    reason: ValidationReason
    record: _access_code_pb2.AccessCode
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, valid: _Optional[bool] = ..., reason: _Optional[_Union[ValidationReason, str]] = ..., record: _Optional[_Union[_access_code_pb2.AccessCode, _Mapping]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetAccessCodeRequest(_message.Message):
    __slots__ = ("access_code_id", "access_code", "order_id")
    ACCESS_CODE_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CODE_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    access_code_id: str
    access_code: str
    order_id: str
    def __init__(self, access_code_id: _Optional[str] = ..., access_code: _Optional[str] = ..., order_id: _Optional[str] = ...) -> None: ...

class GetAccessCodeResponse(_message.Message):
    __slots__ = ("record", "recipient", "customer_id")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    record: _access_code_pb2.AccessCode
    recipient: _access_code_pb2.Recipient
    customer_id: str
    def __init__(self, record: _Optional[_Union[_access_code_pb2.AccessCode, _Mapping]] = ..., recipient: _Optional[_Union[_access_code_pb2.Recipient, _Mapping]] = ..., customer_id: _Optional[str] = ...) -> None: ...
