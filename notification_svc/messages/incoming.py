"""What events of other domains say to notification: a code's version, a mail to be sent, or both.

Every event that carries a code's record raises the code's version, whether or not it asks for a
mail; that is what holds back the mails of codes that have changed since.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from eventbus import Event
from interview.v1 import events_pb2 as interview_events
from interview.v1 import session_pb2
from notification_svc.domain.codes import CodeStatus, CodeVersion
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
from notification_svc.domain.notifications import Recipient
from notification_svc.use_cases.queueing import HandleEvent, QueueMail
from payment.v1 import access_code_pb2
from payment.v1 import events_pb2 as payment_events
from runtime.protobuf import to_datetime

Hear = Callable[[Event, Any], HandleEvent]


def _payment_completed(event: Event, payload: payment_events.PaymentCompleted) -> HandleEvent:
    content = AccessCodeContent(
        access_code_id=payload.access_code_id,
        access_code=payload.access_code,
        version=payload.version,
        product_id=payload.product_id,
        expire_at=to_datetime(payload.expire_at),
    )
    code = CodeVersion(payload.order_id, payload.version, CodeStatus.ACTIVE, payload.access_code_id)
    return HandleEvent(code, _mail(event, payload, content))


def _record(_event: Event, payload: Any) -> HandleEvent:
    """Events that say only how the code stands, if the order has one."""
    return HandleEvent(_version(payload) if payload.HasField("record") else None)


def _code_told(event: Event, payload: Any) -> HandleEvent:
    """A new code, or one reinstated: told if it is good."""
    code = _version(payload)
    return HandleEvent(
        code, _mail(event, payload, _issued(payload.record)) if code.is_active else None
    )


def _refund_completed(event: Event, payload: payment_events.RefundCompleted) -> HandleEvent:
    scope = RefundScope.FULL if payload.full else RefundScope.PARTIAL
    content = RefundContent(
        refund_id=payload.refund_id,
        amount=Money(payload.amount.amount_minor, payload.amount.currency_code),
        scope=RefundScope.SURPLUS if payload.surplus else scope,
    )
    return HandleEvent(_record(event, payload).code, _mail(event, payload, content))


def _session_cancelled(event: Event, payload: interview_events.SessionCancelled) -> HandleEvent:
    """A refunded order's session is not told: RefundCompleted's mail says all."""
    name = session_pb2.SessionCancelReason.Name(payload.cancel_reason)
    reason = name.removeprefix("SESSION_CANCEL_REASON_")
    if reason not in CancelReason.__members__:
        return HandleEvent()
    content = SessionCancelledContent(
        session_id=payload.session_id,
        product_id=payload.product_id,
        reason=CancelReason(reason),
        was_started=payload.was_started,
    )
    return HandleEvent(mail=_mail(event, payload, content))


def _feedback_published(event: Event, payload: interview_events.FeedbackPublished) -> HandleEvent:
    content = FeedbackContent(
        session_id=payload.session_id,
        feedback_id=payload.feedback_id,
        product_id=payload.product_id,
    )
    return HandleEvent(mail=_mail(event, payload, content))


PAYMENT: tuple[tuple[type[Message], Hear], ...] = (
    (payment_events.PaymentCompleted, _payment_completed),
    (payment_events.RefundRequested, _record),
    (payment_events.RefundCompleted, _refund_completed),
    (payment_events.RefundRejected, _record),
    (payment_events.RefundFailed, _record),
    (payment_events.AccessCodeSuspended, _record),
    (payment_events.AccessCodeReinstated, _code_told),
    (payment_events.AccessCodeRevoked, _record),
    (payment_events.AccessCodeExpired, _record),
    (payment_events.AccessCodeRedeemed, _record),
    (payment_events.AccessCodeReissued, _code_told),
)
INTERVIEW: tuple[tuple[type[Message], Hear], ...] = (
    (interview_events.SessionCancelled, _session_cancelled),
    (interview_events.FeedbackPublished, _feedback_published),
)


def _version(payload: Any) -> CodeVersion:
    record: access_code_pb2.AccessCode = payload.record
    name = access_code_pb2.AccessCodeStatus.Name(record.status)
    status = CodeStatus(name.removeprefix("ACCESS_CODE_STATUS_"))
    return CodeVersion(payload.order_id, record.version, status, record.id)


def _issued(record: access_code_pb2.AccessCode) -> AccessCodeContent:
    return AccessCodeContent(
        access_code_id=record.id,
        access_code=record.code,
        version=record.version,
        product_id=record.product_id,
        expire_at=to_datetime(record.expire_at),
    )


def _mail(event: Event, payload: Any, content: Content) -> QueueMail:
    to = payload.recipient
    return QueueMail(
        event_id=event.id,
        event_type=event.type,
        order_id=payload.order_id,
        customer_id=payload.customer_id,
        recipient=Recipient(to.email, to.display_name, to.language_code or "zh-CN"),
        content=content,
    )
