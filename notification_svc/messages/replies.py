"""Aggregates as messages of replies."""

from notification.v1 import notification_service_pb2
from notification_svc.domain.mail_status import MailStatus
from notification_svc.domain.notifications import Notification
from notification_svc.domain.preferences import MailPreferences
from notification_svc.domain.suppressions import Suppression
from runtime.ops.messages import duration
from runtime.protobuf import to_timestamp
from runtime.redaction import mask


def notification(aggregate: Notification) -> notification_service_pb2.Notification:
    """A notification as a message."""
    next_attempt_at, sent_at = aggregate.next_attempt_at, aggregate.sent_at
    dismissed_at = aggregate.dismissed_at
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
        possibly_delivered=aggregate.possibly_delivered,
        dismissed_at=to_timestamp(dismissed_at) if dismissed_at else None,
    )


def mail_status(
    status: MailStatus, server_error: str
) -> notification_service_pb2.GetMailStatusResponse:
    """The state of mailing as a message; `server_error` concerns every mail."""
    error = server_error or status.last_error
    return notification_service_pb2.GetMailStatusResponse(
        queued_count=status.queued,
        sending_count=status.sending,
        deferred_count=status.deferred,
        oldest_waiting_age=duration(status.oldest_waiting_seconds),
        oldest_queued_age=duration(status.oldest_queued_seconds),
        oldest_deferred_age=duration(status.oldest_deferred_seconds),
        failed_count=status.failed,
        oldest_failed_age=duration(status.oldest_failed_seconds),
        mail_server_unavailable=bool(status.deferred and server_error),
        last_error=mask(error) if status.deferred else "",
        last_failure=mask(status.last_failure),
    )


def suppression(entry: Suppression) -> notification_service_pb2.Suppression:
    """An entry of the suppression list as a message."""
    return notification_service_pb2.Suppression(
        email=entry.email, reason=entry.reason, created_at=to_timestamp(entry.created_at)
    )


def preferences(stored: MailPreferences) -> notification_service_pb2.MailPreferences:
    """A customer's mail preferences as a message."""
    return notification_service_pb2.MailPreferences(
        customer_id=stored.customer_id, feedback_declined=stored.feedback_declined
    )
