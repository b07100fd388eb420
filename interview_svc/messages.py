"""interview's domain in protobuf: events for the bus, what payment's say, replies for calls."""

from eventbus import Event
from interview.v1 import events_pb2, session_pb2
from interview_svc.domain.code_entries import CodeRecord, CodeStatus
from interview_svc.domain.sessions import InterviewStarted, Session, SessionPrepared
from payment.v1 import access_code_pb2
from payment.v1 import events_pb2 as payment_events_pb2
from runtime.contracts import to_datetime, to_event, to_timestamp

SOURCE = "interview"
DomainEvent = SessionPrepared | InterviewStarted


def to_bus(event: DomainEvent) -> Event:
    """A domain event as it travels."""
    match event:
        case SessionPrepared():
            return to_event(_session_prepared(event), SOURCE, event.occurred_at)
        case InterviewStarted():
            return to_event(_interview_started(event), SOURCE, event.occurred_at)


def _session_prepared(event: SessionPrepared) -> events_pb2.SessionPrepared:
    return events_pb2.SessionPrepared(
        session_id=event.session_id,
        order_id=event.order_id,
        access_code_id=event.access_code_id,
        product_id=event.product_id,
        prepared_at=to_timestamp(event.occurred_at),
    )


def _interview_started(event: InterviewStarted) -> events_pb2.InterviewStarted:
    return events_pb2.InterviewStarted(
        session_id=event.session_id,
        access_code=event.access_code,
        order_id=event.order_id,
        access_code_id=event.access_code_id,
        started_at=to_timestamp(event.occurred_at),
        validated_by=session_pb2.ValidationSource.Value(f"VALIDATION_SOURCE_{event.validated_by}"),
    )


def issued(message: payment_events_pb2.PaymentCompleted) -> CodeRecord:
    """The record of a code that was just issued."""
    return CodeRecord(
        order_id=message.order_id,
        access_code_id=message.access_code_id,
        code=message.access_code,
        status=CodeStatus.ACTIVE,
        expire_at=to_datetime(message.expire_at),
        version=message.version,
        product_id=message.product_id,
    )


def record(message: access_code_pb2.AccessCode) -> CodeRecord:
    """A code's record."""
    status = access_code_pb2.AccessCodeStatus.Name(message.status)
    return CodeRecord(
        order_id=message.order_id,
        access_code_id=message.id,
        code=message.code,
        status=CodeStatus(status.removeprefix("ACCESS_CODE_STATUS_")),
        expire_at=to_datetime(message.expire_at),
        version=message.version,
        product_id=message.product_id,
    )


def session(aggregate: Session) -> session_pb2.Session:
    """A session as a message."""
    questions = aggregate.question_set
    source = aggregate.validated_by or "UNSPECIFIED"
    return session_pb2.Session(
        session_id=aggregate.session_id,
        order_id=aggregate.order_id,
        customer_id=aggregate.customer_id,
        product_id=aggregate.product_id,
        status=session_pb2.SessionStatus.Value(f"SESSION_STATUS_{aggregate.status}"),
        access_code_id=aggregate.access_code_id,
        question_set=session_pb2.QuestionSet(
            question_set_id=questions.question_set_id,
            version=questions.version,
            language_code=questions.language_code,
            question_count=len(questions.questions),
        ),
        prepared_at=to_timestamp(aggregate.prepared_at),
        started_at=to_timestamp(aggregate.started_at) if aggregate.started_at else None,
        validated_by=session_pb2.ValidationSource.Value(f"VALIDATION_SOURCE_{source}"),
    )
