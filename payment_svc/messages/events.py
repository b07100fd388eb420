"""Converts domain events to events of the bus, one converter per type of event."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from eventbus import Event
from payment.v1 import events_pb2
from payment_svc.domain.access_code_events import (
    AccessCodeEvent,
    AccessCodeExpired,
    AccessCodeRedeemed,
    AccessCodeReinstated,
    AccessCodeReissued,
    AccessCodeRevoked,
    AccessCodeSuspended,
    AccessCodeUseRejected,
)
from payment_svc.domain.order_events import (
    OrderCancelled,
    OrderEvent,
    OrderExpired,
    PaymentCompleted,
)
from payment_svc.domain.payment_events import PaymentFailed
from payment_svc.domain.refund_events import (
    RefundCompleted,
    RefundEvent,
    RefundFailed,
    RefundRejected,
    RefundRequested,
)
from payment_svc.messages.replies import access_code, access_code_status, money, recipient
from runtime.protobuf import to_event, to_timestamp

SOURCE = "payment"
DomainEvent = OrderEvent | PaymentFailed | AccessCodeEvent | RefundEvent


def to_bus(event: DomainEvent) -> Event:
    """Converts a domain event."""
    return to_event(_CONVERTERS[type(event)](event), SOURCE, event.occurred_at)


def watermark(as_of: datetime) -> Event:
    """The event that states that payment's stream is complete up to `as_of`."""
    return to_event(events_pb2.Watermark(as_of=to_timestamp(as_of)), SOURCE, as_of)


def _payment_completed(event: PaymentCompleted) -> Message:
    return events_pb2.PaymentCompleted(
        order_id=event.order_id,
        access_code=event.access_code,
        expire_at=to_timestamp(event.expire_at),
        access_code_id=event.access_code_id,
        version=event.version,
        product_id=event.product_id,
        recipient=recipient(event.recipient),
        customer_id=event.customer_id,
        payment_id=event.payment_id,
        completed_at=to_timestamp(event.occurred_at),
    )


def _payment_failed(event: PaymentFailed) -> Message:
    return events_pb2.PaymentFailed(
        order_id=event.order_id,
        payment_id=event.payment_id,
        failure_reason=event.failure_reason,
        failed_at=to_timestamp(event.occurred_at),
    )


def _order_cancelled(event: OrderCancelled) -> Message:
    return events_pb2.OrderCancelled(
        order_id=event.order_id,
        customer_id=event.customer_id,
        cancelled_at=to_timestamp(event.occurred_at),
    )


def _order_expired(event: OrderExpired) -> Message:
    return events_pb2.OrderExpired(
        order_id=event.order_id,
        customer_id=event.customer_id,
        expired_at=to_timestamp(event.expired_at),
    )


def _access_code_redeemed(event: AccessCodeRedeemed) -> Message:
    return events_pb2.AccessCodeRedeemed(
        order_id=event.record.order_id,
        record=access_code(event.record),
        cause_event_id=event.cause_event_id,
    )


def _access_code_use_rejected(event: AccessCodeUseRejected) -> Message:
    return events_pb2.AccessCodeUseRejected(
        order_id=event.record.order_id,
        record=access_code(event.record),
        session_id=event.session_id,
        judged_as=access_code_status(event.judged_as),
        cause_event_id=event.cause_event_id,
    )


def _access_code_expired(event: AccessCodeExpired) -> Message:
    return events_pb2.AccessCodeExpired(
        order_id=event.record.order_id, record=access_code(event.record)
    )


def _access_code_suspended(event: AccessCodeSuspended) -> Message:
    return events_pb2.AccessCodeSuspended(
        order_id=event.record.order_id, record=access_code(event.record), reason=event.reason
    )


def _access_code_reinstated(event: AccessCodeReinstated) -> Message:
    return events_pb2.AccessCodeReinstated(
        order_id=event.record.order_id,
        record=access_code(event.record),
        reason=event.reason,
        recipient=recipient(event.recipient),
        customer_id=event.customer_id,
    )


def _access_code_revoked(event: AccessCodeRevoked) -> Message:
    return events_pb2.AccessCodeRevoked(
        order_id=event.record.order_id, record=access_code(event.record), reason=event.reason
    )


def _access_code_reissued(event: AccessCodeReissued) -> Message:
    return events_pb2.AccessCodeReissued(
        order_id=event.record.order_id,
        record=access_code(event.record),
        replaced_access_code_id=event.replaced_id,
        reason=event.reason,
        recipient=recipient(event.recipient),
        customer_id=event.customer_id,
    )


def _refund_requested(event: RefundRequested) -> Message:
    return events_pb2.RefundRequested(
        order_id=event.record.order_id,
        record=access_code(event.record),
        refund_id=event.refund_id,
        ask=event.ask,
        requested_at=to_timestamp(event.requested_at),
    )


def _refund_rejected(event: RefundRejected) -> Message:
    return events_pb2.RefundRejected(
        order_id=event.record.order_id,
        record=access_code(event.record),
        refund_id=event.refund_id,
        session_id=event.session_id,
        cause_event_id=event.cause_event_id,
        rejected_at=to_timestamp(event.occurred_at),
    )


def _refund_completed(event: RefundCompleted) -> Message:
    return events_pb2.RefundCompleted(
        order_id=event.order_id,
        record=access_code(event.record) if event.record else None,
        refund_id=event.refund_id,
        payment_id=event.payment_id,
        amount=money(event.amount),
        full=event.full,
        surplus=event.surplus,
        recipient=recipient(event.recipient),
        customer_id=event.customer_id,
        completed_at=to_timestamp(event.occurred_at),
    )


def _refund_failed(event: RefundFailed) -> Message:
    return events_pb2.RefundFailed(
        order_id=event.order_id,
        record=access_code(event.record) if event.record else None,
        refund_id=event.refund_id,
        failure_reason=event.failure_reason,
        failed_at=to_timestamp(event.occurred_at),
    )


_CONVERTERS: Mapping[type[DomainEvent], Callable[[Any], Message]] = {
    PaymentCompleted: _payment_completed,
    PaymentFailed: _payment_failed,
    OrderCancelled: _order_cancelled,
    OrderExpired: _order_expired,
    AccessCodeRedeemed: _access_code_redeemed,
    AccessCodeUseRejected: _access_code_use_rejected,
    AccessCodeExpired: _access_code_expired,
    AccessCodeSuspended: _access_code_suspended,
    AccessCodeReinstated: _access_code_reinstated,
    AccessCodeRevoked: _access_code_revoked,
    AccessCodeReissued: _access_code_reissued,
    RefundRequested: _refund_requested,
    RefundRejected: _refund_rejected,
    RefundCompleted: _refund_completed,
    RefundFailed: _refund_failed,
}
