"""Domain events as events of the bus."""

from eventbus import Event
from notification.v1 import events_pb2
from notification_svc.domain.notifications import NotificationFailed
from runtime.protobuf import to_event, to_timestamp
from runtime.redaction import mask

SOURCE = "notification"


def to_bus(event: NotificationFailed) -> Event:
    """A domain event as an event of the bus."""
    body = events_pb2.NotificationFailed(
        notification_id=event.notification_id,
        order_id=event.order_id,
        event_id=event.event_id,
        event_type=event.event_type,
        # The mail server may quote further addresses.
        reason=mask(event.reason),
        failed_at=to_timestamp(event.occurred_at),
    )
    return to_event(body, SOURCE, event.occurred_at)
