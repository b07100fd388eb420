"""notification's domain in protobuf: what it announces, and replies. For events see `hearing`."""

from eventbus import Event
from notification.v1 import events_pb2, notification_service_pb2
from notification_svc.domain.notifications import Notification, NotificationFailed
from notification_svc.domain.preferences import MailPreferences
from notification_svc.domain.suppressions import Suppression
from runtime.protobuf import to_event, to_timestamp
from runtime.redaction import mask

SOURCE = "notification"


def to_bus(event: NotificationFailed) -> Event:
    """A domain event as it travels."""
    body = events_pb2.NotificationFailed(
        notification_id=event.notification_id,
        order_id=event.order_id,
        event_id=event.event_id,
        event_type=event.event_type,
        # A mail server may quote further addresses.
        reason=mask(event.reason),
        failed_at=to_timestamp(event.occurred_at),
    )
    return to_event(body, SOURCE, event.occurred_at)


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
        resend_of=aggregate.resend_of,
    )


def suppression(entry: Suppression) -> notification_service_pb2.Suppression:
    """An entry of the suppression list as a message."""
    return notification_service_pb2.Suppression(
        email=entry.email, reason=entry.reason, created_at=to_timestamp(entry.created_at)
    )


def preferences(wanted: MailPreferences) -> notification_service_pb2.MailPreferences:
    """What a customer wants as a message."""
    return notification_service_pb2.MailPreferences(
        customer_id=wanted.customer_id, feedback_declined=wanted.feedback_declined
    )
