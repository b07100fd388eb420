"""notification's domain in protobuf: from events, and for replies."""

from eventbus import Event
from notification.v1 import notification_service_pb2
from notification_svc.domain import IssuedCode, Notification, Recipient
from notification_svc.use_cases import QueueNotification
from payment.v1 import access_code_pb2, events_pb2
from runtime.contracts import to_datetime, to_timestamp


def from_payment_completed(event: Event, payload: events_pb2.PaymentCompleted) -> QueueNotification:
    """The mail that PaymentCompleted asks for."""
    return QueueNotification(
        event_id=event.id,
        event_type=event.type,
        order_id=payload.order_id,
        customer_id=payload.customer_id,
        recipient=_recipient(payload.recipient),
        issued=IssuedCode(
            access_code_id=payload.access_code_id,
            access_code=payload.access_code,
            version=payload.version,
            product_id=payload.product_id,
            expire_at=to_datetime(payload.expire_at),
        ),
    )


def _recipient(message: access_code_pb2.Recipient) -> Recipient:
    return Recipient(message.email, message.display_name, message.language_code or "zh-CN")


def notification(aggregate: Notification) -> notification_service_pb2.Notification:
    """A notification as a message."""
    next_attempt_at, sent_at = aggregate.next_attempt_at, aggregate.sent_at
    status = f"NOTIFICATION_STATUS_{aggregate.status}"
    return notification_service_pb2.Notification(
        notification_id=aggregate.notification_id,
        order_id=aggregate.order_id,
        event_id=aggregate.event_id,
        event_type=aggregate.event_type,
        recipient_email=aggregate.recipient.email,
        language_code=aggregate.recipient.language_code,
        status=notification_service_pb2.NotificationStatus.Value(status),
        message_id=aggregate.message_id,
        attempts=aggregate.attempts,
        last_error=aggregate.last_error,
        created_at=to_timestamp(aggregate.created_at),
        next_attempt_at=to_timestamp(next_attempt_at) if next_attempt_at else None,
        sent_at=to_timestamp(sent_at) if sent_at else None,
    )
