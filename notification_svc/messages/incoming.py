"""Incoming events as commands: a new version of a code, a mail to queue, or both.

Every event that carries a code's record updates the code's version, whether or not it causes a
mail: that suppresses the mails of codes that have changed since.
"""

from collections.abc import Callable, Mapping
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

Converter = Callable[[Event, Any], HandleEvent]


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


def _version_only(_event: Event, payload: Any) -> HandleEvent:
    """An event that only updates the code's version, if the order has a code."""
    return HandleEvent(_version(payload) if payload.HasField("record") else None)


def _new_code(event: Event, payload: Any) -> HandleEvent:
    """A new or reinstated code: mailed if it is active."""
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
    return HandleEvent(_version_only(event, payload).code, _mail(event, payload, content))


def _session_cancelled(event: Event, payload: interview_events.SessionCancelled) -> HandleEvent:
    """After a refund there is no mail: that of RefundCompleted covers the session."""
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


PAYMENT: Mapping[type[Message], Converter] = {
    payment_events.PaymentCompleted: _payment_completed,
    payment_events.RefundRequested: _version_only,
    payment_events.RefundCompleted: _refund_completed,
    payment_events.RefundRejected: _version_only,
    payment_events.RefundFailed: _version_only,
    payment_events.AccessCodeSuspended: _version_only,
    payment_events.AccessCodeReinstated: _new_code,
    payment_events.AccessCodeRevoked: _version_only,
    payment_events.AccessCodeExpired: _version_only,
    payment_events.AccessCodeRedeemed: _version_only,
    payment_events.AccessCodeReissued: _new_code,
}
INTERVIEW: Mapping[type[Message], Converter] = {
    interview_events.SessionCancelled: _session_cancelled,
    interview_events.FeedbackPublished: _feedback_published,
}


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
