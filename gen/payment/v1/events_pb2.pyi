import datetime

from buf.validate import validate_pb2 as _validate_pb2
from contract.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from payment.v1 import access_code_pb2 as _access_code_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PaymentCompleted(_message.Message):
    __slots__ = ("order_id", "access_code", "expire_at", "access_code_id", "version", "product_id", "recipient", "customer_id", "payment_id", "completed_at")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CODE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_AT_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    access_code: str
    expire_at: _timestamp_pb2.Timestamp
    access_code_id: str
    version: int
    product_id: str
    recipient: _access_code_pb2.Recipient
    customer_id: str
    payment_id: str
    completed_at: _timestamp_pb2.Timestamp
    def __init__(self, order_id: _Optional[str] = ..., access_code: _Optional[str] = ..., expire_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., access_code_id: _Optional[str] = ..., version: _Optional[int] = ..., product_id: _Optional[str] = ..., recipient: _Optional[_Union[_access_code_pb2.Recipient, _Mapping]] = ..., customer_id: _Optional[str] = ..., payment_id: _Optional[str] = ..., completed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AccessCodeRedeemed(_message.Message):
    __slots__ = ("order_id", "record", "cause_event_id")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    CAUSE_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    record: _access_code_pb2.AccessCode
    cause_event_id: str
    def __init__(self, order_id: _Optional[str] = ..., record: _Optional[_Union[_access_code_pb2.AccessCode, _Mapping]] = ..., cause_event_id: _Optional[str] = ...) -> None: ...

class Watermark(_message.Message):
    __slots__ = ("as_of",)
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
