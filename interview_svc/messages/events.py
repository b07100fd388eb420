"""Converts interview's domain events to events of the bus."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from eventbus import Event
from interview.v1 import events_pb2, session_pb2
from interview_svc.domain import events
from payment.v1 import access_code_pb2
from runtime.protobuf import to_event, to_timestamp

SOURCE = "interview"


def to_bus(event: events.DomainEvent) -> Event:
    """A domain event as an event of the bus."""
    return to_event(_CONVERTERS[type(event)](event), SOURCE, event.occurred_at)


def _session_prepared(event: events.SessionPrepared) -> events_pb2.SessionPrepared:
    return events_pb2.SessionPrepared(
        session_id=event.session_id,
        order_id=event.order_id,
        access_code_id=event.access_code_id,
        product_id=event.product_id,
        prepared_at=to_timestamp(event.occurred_at),
    )


def _interview_started(event: events.InterviewStarted) -> events_pb2.InterviewStarted:
    return events_pb2.InterviewStarted(
        session_id=event.session_id,
        access_code=event.access_code,
        order_id=event.order_id,
        access_code_id=event.access_code_id,
        started_at=to_timestamp(event.started_at),
        validated_by=session_pb2.ValidationSource.Value(f"VALIDATION_SOURCE_{event.validated_by}"),
        refund_id=event.refund_id,
        interview_ended=event.interview_ended,
    )


def _session_withheld(event: events.SessionWithheld) -> events_pb2.SessionWithheld:
    return events_pb2.SessionWithheld(
        order_id=event.order_id,
        refund_id=event.refund_id,
        session_id=event.session_id,
        withheld_at=to_timestamp(event.occurred_at),
    )


def _interview_completed(event: events.InterviewCompleted) -> events_pb2.InterviewCompleted:
    return events_pb2.InterviewCompleted(
        session_id=event.session_id,
        order_id=event.order_id,
        answered_count=event.answered_count,
        question_count=event.question_count,
        completed_at=to_timestamp(event.occurred_at),
    )


def _session_cancelled(event: events.SessionCancelled) -> events_pb2.SessionCancelled:
    reason = f"SESSION_CANCEL_REASON_{event.cancel_reason}"
    return events_pb2.SessionCancelled(
        session_id=event.session_id,
        order_id=event.order_id,
        cancel_reason=session_pb2.SessionCancelReason.Value(reason),
        was_started=event.was_started,
        customer_id=event.customer_id,
        recipient=_recipient(event.recipient),
        product_id=event.product_id,
        cancelled_at=to_timestamp(event.occurred_at),
    )


def _session_expired(event: events.SessionExpired) -> events_pb2.SessionExpired:
    return events_pb2.SessionExpired(
        session_id=event.session_id,
        order_id=event.order_id,
        was_started=event.was_started,
        expired_at=to_timestamp(event.occurred_at),
    )


def _feedback_published(event: events.FeedbackPublished) -> events_pb2.FeedbackPublished:
    return events_pb2.FeedbackPublished(
        session_id=event.session_id,
        order_id=event.order_id,
        feedback_id=event.feedback_id,
        rating=event.rating,
        customer_id=event.customer_id,
        recipient=_recipient(event.recipient),
        product_id=event.product_id,
        published_at=to_timestamp(event.occurred_at),
    )


def _recipient(recipient: events.Recipient) -> access_code_pb2.Recipient:
    return access_code_pb2.Recipient(
        email=recipient.email,
        display_name=recipient.display_name,
        language_code=recipient.language_code,
    )


_CONVERTERS: dict[type[events.DomainEvent], Callable[[Any], Message]] = {
    events.SessionPrepared: _session_prepared,
    events.InterviewStarted: _interview_started,
    events.SessionWithheld: _session_withheld,
    events.InterviewCompleted: _interview_completed,
    events.SessionCancelled: _session_cancelled,
    events.SessionExpired: _session_expired,
    events.FeedbackPublished: _feedback_published,
}
