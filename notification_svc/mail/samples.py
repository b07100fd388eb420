"""Sample mails for previews, one for each event type with a mail."""

from datetime import UTC, datetime

from notification_svc.domain.contents import (
    AccessCodeContent,
    CancelReason,
    Content,
    FeedbackContent,
    Money,
    RefundContent,
    RefundScope,
    SessionCancelledContent,
)
from notification_svc.domain.notifications import Notification, Recipient

_ULID = "01K00000000000000000000000"
_CODE = AccessCodeContent(
    access_code_id=f"acc_{_ULID}",
    access_code="ABCD-EFGH-JKMN-PQRS",
    version=1,
    product_id="backend-60",
    expire_at=datetime(2030, 1, 31, 12, tzinfo=UTC),
)
_CONTENTS: dict[str, Content] = {
    "payment.v1.PaymentCompleted": _CODE,
    "payment.v1.AccessCodeReissued": _CODE,
    "payment.v1.AccessCodeReinstated": _CODE,
    "payment.v1.RefundCompleted": RefundContent(
        refund_id=f"ref_{_ULID}", amount=Money(19900, "CNY"), scope=RefundScope.FULL
    ),
    "interview.v1.SessionCancelled": SessionCancelledContent(
        session_id=f"ses_{_ULID}",
        product_id="backend-60",
        reason=CancelReason.REQUESTED,
        was_started=True,
    ),
    "interview.v1.FeedbackPublished": FeedbackContent(
        session_id=f"ses_{_ULID}", feedback_id=f"fbk_{_ULID}", product_id="backend-60"
    ),
}
EVENT_TYPES = frozenset(_CONTENTS)
_NAMES = {"zh-CN": "李华", "en": "Mei Lin"}


class EventTypeWithoutMail(ValueError):
    """There is no mail for this event type."""


def sample(event_type: str, language_code: str) -> Notification:
    """A sample mail for an event type; raises EventTypeWithoutMail."""
    if (content := _CONTENTS.get(event_type)) is None:
        raise EventTypeWithoutMail(f"there is no mail for event type {event_type!r}")
    moment = datetime(2030, 1, 1, 12, tzinfo=UTC)
    return Notification(
        notification_id=f"ntf_{_ULID}",
        order_id=f"ord_{_ULID}",
        customer_id="mei.lin",
        event_id=f"evt_{_ULID}",
        event_type=event_type,
        recipient=Recipient("mei.lin@example.com", _NAMES[language_code], language_code),
        content=content,
        message_id=f"<ntf_{_ULID}@example.com>",
        created_at=moment,
        due_at=None,
    )
