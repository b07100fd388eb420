"""Converts payment's events and replies about access codes to updates of cached codes."""

from interview_svc.domain.cached_code import CodeRecord, CodeStatus, CodeUpdate, Holder
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2
from runtime.protobuf import to_datetime

# The contract's default for a recipient without a language.
_DEFAULT_LANGUAGE = "zh-CN"


def from_payment_completed(message: events_pb2.PaymentCompleted) -> CodeUpdate:
    """The record of a newly issued code, with its holder."""
    issued_record = CodeRecord(
        order_id=message.order_id,
        access_code_id=message.access_code_id,
        code=message.access_code,
        status=CodeStatus.ACTIVE,
        expire_at=to_datetime(message.expire_at),
        version=message.version,
        product_id=message.product_id,
    )
    return CodeUpdate(issued_record, _holder(message.customer_id, message.recipient))


def from_reply(message: access_code_service_pb2.GetAccessCodeResponse) -> CodeUpdate:
    """The record of a code, with its holder."""
    return CodeUpdate(record(message.record), _holder(message.customer_id, message.recipient))


def record(message: access_code_pb2.AccessCode) -> CodeRecord:
    """The record of a code."""
    status = access_code_pb2.AccessCodeStatus.Name(message.status)
    return CodeRecord(
        order_id=message.order_id,
        access_code_id=message.id,
        code=message.code,
        status=CodeStatus(status.removeprefix("ACCESS_CODE_STATUS_")),
        expire_at=to_datetime(message.expire_at),
        version=message.version,
        product_id=message.product_id,
    )


def _holder(customer_id: str, recipient: access_code_pb2.Recipient) -> Holder:
    return Holder(
        customer_id=customer_id,
        email=recipient.email,
        display_name=recipient.display_name,
        language_code=recipient.language_code or _DEFAULT_LANGUAGE,
    )
