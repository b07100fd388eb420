"""payment's domain events as they travel on the bus."""

from datetime import datetime

from google.protobuf.message import Message

from eventbus import Event
from payment.v1 import access_code_pb2, events_pb2
from payment_svc.domain.access_code_events import (
    AccessCodeEvent,
    AccessCodeExpired,
    AccessCodeRedeemed,
    AccessCodeReinstated,
    AccessCodeReissued,
    AccessCodeRevoked,
    AccessCodeSuspended,
    AccessCodeUseRejected,
    Holder,
)
from payment_svc.domain.orders import OrderCancelled, OrderEvent, OrderExpired, PaymentCompleted
from payment_svc.domain.payments import PaymentFailed
from payment_svc.domain.refund_events import (
    RefundCompleted,
    RefundEvent,
    RefundFailed,
    RefundRejected,
    RefundRequested,
)
from payment_svc.messages.replies import access_code, access_code_status, money
from runtime.protobuf import to_event, to_timestamp

SOURCE = "payment"
DomainEvent = OrderEvent | PaymentFailed | AccessCodeEvent | RefundEvent


def to_bus(event: DomainEvent) -> Event:
    """A domain event as it travels."""
    return to_event(_message(event), SOURCE, event.occurred_at)


def watermark(as_of: datetime) -> Event:
    """Says that the feed is complete up to a moment."""
    return to_event(events_pb2.Watermark(as_of=to_timestamp(as_of)), SOURCE, as_of)


def _message(event: DomainEvent) -> Message:
    match event:
        case PaymentCompleted() | PaymentFailed() | OrderCancelled() | OrderExpired():
            return _about_order(event)
        case RefundRequested() | RefundRejected() | RefundCompleted() | RefundFailed():
            return _about_refund(event)
        case AccessCodeRedeemed() | AccessCodeUseRejected() | AccessCodeExpired():
            return _by_use_or_clock(event)
        case _:
            return _by_operator(event)


def _about_order(event: OrderEvent | PaymentFailed) -> Message:
    match event:
        case PaymentCompleted():
            return _payment_completed(event)
        case PaymentFailed():
            return _payment_failed(event)
        case OrderCancelled():
            return _order_cancelled(event)
        case OrderExpired():
            return _order_expired(event)


def _payment_completed(event: PaymentCompleted) -> events_pb2.PaymentCompleted:
    return events_pb2.PaymentCompleted(
        order_id=event.order_id,
        access_code=event.access_code,
        expire_at=to_timestamp(event.expire_at),
        access_code_id=event.access_code_id,
        version=event.version,
        product_id=event.product_id,
        recipient=access_code_pb2.Recipient(
            email=event.email,
            display_name=event.display_name,
            language_code=event.language_code,
        ),
        customer_id=event.customer_id,
        payment_id=event.payment_id,
        completed_at=to_timestamp(event.occurred_at),
    )


def _by_use_or_clock(
    event: AccessCodeRedeemed | AccessCodeUseRejected | AccessCodeExpired,
) -> Message:
    order_id, record = event.record.order_id, access_code(event.record)
    match event:
        case AccessCodeRedeemed():
            return events_pb2.AccessCodeRedeemed(
                order_id=order_id, record=record, cause_event_id=event.cause_event_id
            )
        case AccessCodeUseRejected():
            return events_pb2.AccessCodeUseRejected(
                order_id=order_id,
                record=record,
                session_id=event.session_id,
                judged_as=access_code_status(event.judged_as),
                cause_event_id=event.cause_event_id,
            )
        case AccessCodeExpired():
            return events_pb2.AccessCodeExpired(order_id=order_id, record=record)


def _by_operator(
    event: AccessCodeSuspended | AccessCodeReinstated | AccessCodeRevoked | AccessCodeReissued,
) -> Message:
    order_id, record, reason = event.record.order_id, access_code(event.record), event.reason
    match event:
        case AccessCodeSuspended():
            return events_pb2.AccessCodeSuspended(order_id=order_id, record=record, reason=reason)
        case AccessCodeRevoked():
            return events_pb2.AccessCodeRevoked(order_id=order_id, record=record, reason=reason)
        case AccessCodeReinstated():
            return events_pb2.AccessCodeReinstated(
                order_id=order_id,
                record=record,
                reason=reason,
                recipient=_recipient(event.holder),
                customer_id=event.holder.customer_id,
            )
        case AccessCodeReissued():
            return events_pb2.AccessCodeReissued(
                order_id=order_id,
                record=record,
                replaced_access_code_id=event.replaced_id,
                reason=reason,
                recipient=_recipient(event.holder),
                customer_id=event.holder.customer_id,
            )


def _payment_failed(event: PaymentFailed) -> events_pb2.PaymentFailed:
    return events_pb2.PaymentFailed(
        order_id=event.order_id,
        payment_id=event.payment_id,
        failure_reason=event.failure_reason,
        failed_at=to_timestamp(event.occurred_at),
    )


def _order_cancelled(event: OrderCancelled) -> events_pb2.OrderCancelled:
    return events_pb2.OrderCancelled(
        order_id=event.order_id,
        customer_id=event.customer_id,
        cancelled_at=to_timestamp(event.occurred_at),
    )


def _order_expired(event: OrderExpired) -> events_pb2.OrderExpired:
    return events_pb2.OrderExpired(
        order_id=event.order_id,
        customer_id=event.customer_id,
        expired_at=to_timestamp(event.expired_at),
    )


def _about_refund(event: RefundEvent) -> Message:
    at = to_timestamp(event.occurred_at)
    match event:
        case RefundRequested():
            return events_pb2.RefundRequested(
                order_id=event.record.order_id,
                record=access_code(event.record),
                refund_id=event.refund_id,
                ask=event.ask,
                requested_at=to_timestamp(event.requested_at),
            )
        case RefundRejected():
            return events_pb2.RefundRejected(
                order_id=event.record.order_id,
                record=access_code(event.record),
                refund_id=event.refund_id,
                session_id=event.session_id,
                cause_event_id=event.cause_event_id,
                rejected_at=at,
            )
        case RefundCompleted():
            return events_pb2.RefundCompleted(
                order_id=event.order_id,
                record=access_code(event.record) if event.record else None,
                refund_id=event.refund_id,
                payment_id=event.payment_id,
                amount=money(event.amount),
                full=event.full,
                surplus=event.surplus,
                recipient=_recipient(event.holder),
                customer_id=event.holder.customer_id,
                completed_at=at,
            )
        case RefundFailed():
            return events_pb2.RefundFailed(
                order_id=event.order_id,
                record=access_code(event.record) if event.record else None,
                refund_id=event.refund_id,
                failure_reason=event.failure_reason,
                failed_at=at,
            )


def _recipient(holder: Holder) -> access_code_pb2.Recipient:
    return access_code_pb2.Recipient(
        email=holder.email,
        display_name=holder.display_name,
        language_code=holder.language_code,
    )
