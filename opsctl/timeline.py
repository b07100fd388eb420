"""Entries of an order's timeline, made from the records of the services.

Each function yields an entry for each step that a record has a time for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from clients import Service
from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from opsctl.output import money, name_of
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2


@dataclass(frozen=True)
class Entry:
    """An event or a change of state at its time. `id` identifies what changed."""

    at: datetime
    domain: str
    event: str
    id: str
    detail: str = ""


def _entry(
    moment: Timestamp, domain: Service, event: str, id_: str, *details: str
) -> Iterator[Entry]:
    """An entry with all details that aren't empty; none if the moment is unset."""
    if moment.seconds or moment.nanos:
        detail = ", ".join(detail for detail in details if detail)
        yield Entry(moment.ToDatetime(tzinfo=UTC), domain, event, id_, detail)


def of_order(order: payment_service_pb2.Order) -> Iterator[Entry]:
    id_ = order.order_id
    details = (order.product_id, money(order.price), f"customer {order.customer_id}")
    yield from _entry(order.created_at, Service.PAYMENT, "order created", id_, *details)
    yield from _entry(order.paid_at, Service.PAYMENT, "order paid", id_, order.payment_id)


def of_payment(payment: payment_service_pb2.Payment) -> Iterator[Entry]:
    id_, amount, captured = payment.payment_id, money(payment.amount), money(payment.captured)
    status = name_of(payment_service_pb2.PaymentStatus, payment.status, "PAYMENT_STATUS_")
    details = (payment.failure_reason, f"captured {captured}" if captured else "")
    yield from _entry(payment.created_at, Service.PAYMENT, "payment created", id_, amount)
    yield from _entry(payment.updated_at, Service.PAYMENT, f"payment {status}", id_, *details)


def of_refund(refund: payment_service_pb2.Refund) -> Iterator[Entry]:
    id_, kind = refund.refund_id, refund_kind(refund)
    status = name_of(payment_service_pb2.RefundStatus, refund.status, "REFUND_STATUS_")
    details = (money(refund.amount), refund.reason)
    yield from _entry(refund.created_at, Service.PAYMENT, f"{kind} refund created", id_, *details)
    if refund.asks:
        requests = f"{refund.asks} requests so far"
        event = "session withholding requested"
        yield from _entry(refund.asked_at, Service.PAYMENT, event, id_, requests)
    event = "refund released to the provider"
    yield from _entry(refund.released_at, Service.PAYMENT, event, id_)
    details = (refund.failure_reason, "overdue" if refund.overdue else "")
    yield from _entry(refund.updated_at, Service.PAYMENT, f"refund {status}", id_, *details)


def refund_kind(refund: payment_service_pb2.Refund) -> str:
    """`surplus`, `full` or `partial`."""
    if refund.surplus:
        return "surplus"
    return "full" if refund.full else "partial"


def of_code(record: access_code_pb2.AccessCode) -> Iterator[Entry]:
    """The issue of a code; `of_code_event` yields its changes."""
    details = (record.code, f"replaced by {record.replaced_by}" if record.replaced_by else "")
    yield from _entry(record.issued_at, Service.PAYMENT, "access code issued", record.id, *details)


def of_code_event(change: access_code_service_pb2.AccessCodeEvent) -> Iterator[Entry]:
    """A change in a code's audit log, without its issue: `of_code` yields that."""
    before, after = (
        name_of(access_code_pb2.AccessCodeStatus, status, "ACCESS_CODE_STATUS_")
        for status in (change.before, change.after)
    )
    if before == "UNSPECIFIED":
        return
    cause = f"caused by {change.cause_event_id}" if change.cause_event_id else ""
    yield from _entry(
        change.changed_at,
        Service.PAYMENT,
        f"access code {before} → {after}",
        change.access_code_id,
        f"by {change.actor}",
        change.reason,
        cause,
    )


def of_session(session: session_pb2.Session) -> Iterator[Entry]:
    id_ = session.session_id
    status = name_of(session_pb2.SessionStatus, session.status, "SESSION_STATUS_")
    source = name_of(session_pb2.ValidationSource, session.validated_by, "VALIDATION_SOURCE_")
    reason = name_of(
        session_pb2.SessionCancelReason, session.cancel_reason, "SESSION_CANCEL_REASON_"
    )
    end = "COMPLETED" if status == "EVALUATED" else status
    details = (
        "" if reason == "UNSPECIFIED" else reason,
        "used without right" if session.used_without_right else "",
    )
    yield from _entry(
        session.prepared_at, Service.INTERVIEW, "session prepared", id_, session.product_id
    )
    yield from _entry(
        session.started_at, Service.INTERVIEW, "interview started", id_, f"validated by {source}"
    )
    yield from _entry(session.ended_at, Service.INTERVIEW, f"session {end}", id_, *details)


def of_qa_record(record: interview_service_pb2.QARecord) -> Iterator[Entry]:
    question = record.question
    status = name_of(interview_service_pb2.QARecordStatus, record.status, "QA_RECORD_STATUS_")
    number = f"question {question.number} of {question.question_count}"
    id_ = question.question_id
    yield from _entry(question.asked_at, Service.INTERVIEW, f"{number} asked", id_)
    yield from _entry(record.answered_at, Service.INTERVIEW, f"{number} answered", id_)
    if status == "MISSED":
        yield from _entry(question.answer_by, Service.INTERVIEW, f"{number} missed", id_)


def of_feedback(feedback: interview_service_pb2.Feedback) -> Iterator[Entry]:
    details = (f"rating {feedback.rating} of 5", f"by {feedback.given_by}")
    yield from _entry(
        feedback.created_at, Service.INTERVIEW, "feedback given", feedback.feedback_id, *details
    )


def of_notification(mail: notification_service_pb2.Notification) -> Iterator[Entry]:
    id_ = mail.notification_id
    status = name_of(
        notification_service_pb2.NotificationStatus, mail.status, "NOTIFICATION_STATUS_"
    )
    event_type = f"about {mail.event_type.rpartition('.')[2]}"
    details = (
        f"to {mail.recipient_email}",
        f"resend of {mail.resend_of}" if mail.resend_of else "",
        # Only SENT has a time, and so an entry, of its own.
        "" if status == "SENT" else f"now {status}",
        mail.last_error,
    )
    yield from _entry(
        mail.created_at, Service.NOTIFICATION, "mail queued", id_, event_type, *details
    )
    attempts = f"attempt {mail.attempts}" if mail.attempts > 1 else ""
    yield from _entry(mail.sent_at, Service.NOTIFICATION, "mail sent", id_, event_type, attempts)
