"""What happened to one order, each thing at its moment: what records and replies say as entries."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from opsctl.money import money
from opsctl.output import name_of
from payment.v1 import access_code_pb2, payment_service_pb2


@dataclass(frozen=True)
class Entry:
    """One thing that happened. `id` names what it happened to."""

    at: datetime
    domain: str
    what: str
    id: str
    detail: str = ""


def _at(timestamp: Timestamp, domain: str, what: str, id_: str, *details: str) -> Iterator[Entry]:
    """An entry, unless the moment is unset: it hasn't happened then."""
    if timestamp.seconds or timestamp.nanos:
        detail = ", ".join(detail for detail in details if detail)
        yield Entry(timestamp.ToDatetime(tzinfo=UTC), domain, what, id_, detail)


def of_order(order: Any) -> Iterator[Entry]:
    id_ = order.order_id
    bought = (order.product_id, money(order.price), f"customer {order.customer_id}")
    yield from _at(order.created_at, "payment", "order created", id_, *bought)
    yield from _at(order.paid_at, "payment", "order paid", id_, order.payment_id)


def of_payment(payment: Any) -> Iterator[Entry]:
    id_, amount = payment.payment_id, money(payment.amount)
    status = name_of(payment_service_pb2.PaymentStatus, payment.status, "PAYMENT_STATUS_")
    captured = money(payment.captured)
    yield from _at(payment.created_at, "payment", "payment created", id_, amount)
    yield from _at(
        payment.updated_at,
        "payment",
        f"payment {status}",
        id_,
        payment.failure_reason,
        f"captured {captured}" if captured else "",
    )


def of_refund(refund: Any) -> Iterator[Entry]:
    id_ = refund.refund_id
    kind = "surplus" if refund.surplus else "full" if refund.full else "partial"
    status = name_of(payment_service_pb2.RefundStatus, refund.status, "REFUND_STATUS_")
    amount, asks = money(refund.amount), f"{refund.asks} times so far"
    yield from _at(refund.created_at, "payment", f"{kind} refund begun", id_, amount, refund.reason)
    if refund.asks:
        yield from _at(refund.asked_at, "payment", "interview asked for it", id_, asks)
    yield from _at(refund.released_at, "payment", "refund released to the provider", id_)
    late = "overdue" if refund.overdue else ""
    yield from _at(
        refund.updated_at, "payment", f"refund {status}", id_, refund.failure_reason, late
    )


def of_code(record: Any) -> Iterator[Entry]:
    """The code's issue; what became of it is told by its audit."""
    detail = (record.code, f"replaced by {record.replaced_by}" if record.replaced_by else "")
    yield from _at(record.issued_at, "payment", "access code issued", record.id, *detail)


def of_code_event(change: Any) -> Iterator[Entry]:
    """One line of a code's audit; its issue has an entry already."""
    before, after = (
        name_of(access_code_pb2.AccessCodeStatus, status, "ACCESS_CODE_STATUS_")
        for status in (change.before, change.after)
    )
    if before == "UNSPECIFIED":
        return
    yield from _at(
        change.changed_at,
        "payment",
        f"access code {before} → {after}",
        change.access_code_id,
        f"by {change.actor}",
        change.reason,
        f"because of {change.cause_event_id}" if change.cause_event_id else "",
    )


def of_session(session: Any) -> Iterator[Entry]:
    id_ = session.session_id
    status = name_of(session_pb2.SessionStatus, session.status, "SESSION_STATUS_")
    source = name_of(session_pb2.ValidationSource, session.validated_by, "VALIDATION_SOURCE_")
    reason = name_of(
        session_pb2.SessionCancelReason, session.cancel_reason, "SESSION_CANCEL_REASON_"
    )
    ended = "COMPLETED" if status == "EVALUATED" else status
    yield from _at(session.prepared_at, "interview", "session prepared", id_, session.product_id)
    yield from _at(
        session.started_at, "interview", "interview started", id_, f"validated by {source}"
    )
    yield from _at(
        session.ended_at,
        "interview",
        f"session {ended}",
        id_,
        "" if reason == "UNSPECIFIED" else reason,
        "used without right" if session.used_without_right else "",
    )


def of_qa_record(record: Any) -> Iterator[Entry]:
    question = record.question
    status = name_of(interview_service_pb2.QARecordStatus, record.status, "QA_RECORD_STATUS_")
    number = f"question {question.number} of {question.question_count}"
    id_ = question.question_id
    yield from _at(question.asked_at, "interview", f"{number} asked", id_)
    yield from _at(record.answered_at, "interview", f"{number} answered", id_)
    if status == "MISSED":
        yield from _at(question.answer_by, "interview", f"{number} missed", id_)


def of_feedback(feedback: Any) -> Iterator[Entry]:
    detail = (f"rating {feedback.rating} of 5", f"by {feedback.given_by}")
    yield from _at(
        feedback.created_at, "interview", "feedback given", feedback.feedback_id, *detail
    )


def of_notification(mail: Any) -> Iterator[Entry]:
    id_ = mail.notification_id
    status = name_of(
        notification_service_pb2.NotificationStatus, mail.status, "NOTIFICATION_STATUS_"
    )
    about = f"about {mail.event_type.rpartition('.')[2]}"
    again = f"again, as {mail.resend_of} was" if mail.resend_of else ""
    # Only a mail that was sent has another moment to stand at.
    stands = "" if status == "SENT" else f"now {status}"
    yield from _at(
        mail.created_at,
        *("notification", "mail queued", id_, about, f"to {mail.recipient_email}"),
        *(again, stands, mail.last_error),
    )
    attempts = f"at attempt {mail.attempts}" if mail.attempts > 1 else ""
    yield from _at(mail.sent_at, "notification", "mail sent", id_, about, attempts)
