"""Converts interview's domain objects to messages of its replies."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from interview.v1 import interview_service_pb2, session_pb2
from interview_svc.domain.drifts import Drift
from interview_svc.domain.fallback import FallbackStatus
from interview_svc.domain.feedback import Feedback
from interview_svc.domain.qa_records import QARecord, QARecordStatus
from interview_svc.domain.sessions import Session
from runtime.protobuf import to_timestamp


def session(aggregate: Session) -> session_pb2.Session:
    """A session."""
    questions = aggregate.question_set
    source = aggregate.validated_by or "UNSPECIFIED"
    reason = aggregate.cancel_reason or "UNSPECIFIED"
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
        started_at=_optional_timestamp(aggregate.started_at),
        validated_by=session_pb2.ValidationSource.Value(f"VALIDATION_SOURCE_{source}"),
        deadline_at=_optional_timestamp(aggregate.deadline_at),
        ended_at=_optional_timestamp(aggregate.ended_at),
        cancel_reason=session_pb2.SessionCancelReason.Value(f"SESSION_CANCEL_REASON_{reason}"),
        answered_count=aggregate.answered_count,
        used_without_right=aggregate.used_without_right,
    )


def asked_question(aggregate: Session, record: QARecord) -> interview_service_pb2.AskedQuestion:
    """A question that a session has asked."""
    return interview_service_pb2.AskedQuestion(
        question_id=record.question_id,
        number=record.number,
        question_count=len(aggregate.question_set.questions),
        text=aggregate.question(record).text,
        asked_at=to_timestamp(record.asked_at),
        answer_by=to_timestamp(record.answer_by),
    )


def qa_record(
    aggregate: Session, record: QARecord, now: datetime
) -> interview_service_pb2.QARecord:
    """A question and its answer; after the end of the session no question is OPEN."""
    status = record.status_at(now)
    if status is QARecordStatus.OPEN and aggregate.ended_at:
        status = QARecordStatus.MISSED
    return interview_service_pb2.QARecord(
        session_id=record.session_id,
        question=asked_question(aggregate, record),
        status=interview_service_pb2.QARecordStatus.Value(f"QA_RECORD_STATUS_{status}"),
        answer=record.answer,
        answered_at=_optional_timestamp(record.answered_at),
    )


def feedback(published: Feedback) -> interview_service_pb2.Feedback:
    """Feedback on a session."""
    assessment = published.assessment
    return interview_service_pb2.Feedback(
        feedback_id=published.feedback_id,
        session_id=published.session_id,
        rating=assessment.rating,
        summary=assessment.summary,
        comments=[
            interview_service_pb2.QuestionComment(
                question_id=comment.question_id, text=comment.text
            )
            for comment in assessment.comments
        ],
        given_by=published.given_by,
        created_at=to_timestamp(published.created_at),
    )


def drift(found: Drift) -> interview_service_pb2.Drift:
    """A drift."""
    return interview_service_pb2.Drift(
        kind=interview_service_pb2.DriftKind.Value(f"DRIFT_KIND_{found.kind}"),
        order_id=found.order_id,
        access_code_id=found.access_code_id,
        session_id=found.session_id,
        detail=found.detail,
        repaired=found.repaired,
    )


def fallback_status(status: FallbackStatus) -> interview_service_pb2.GetFallbackStatusResponse:
    """Whether the local cache can accept codes."""
    facts = status.facts
    return interview_service_pb2.GetFallbackStatusResponse(
        available=status.available,
        unavailable_since=_optional_timestamp(status.unavailable_since),
        reason=status.reason,
        fresh_as_of=_optional_timestamp(facts.covered_as_of),
        unassigned_dead_letter_count=facts.unassigned_dead_letters,
        stale_order_count=facts.stale_orders,
    )


def _optional_timestamp(moment: datetime | None) -> Timestamp | None:
    return to_timestamp(moment) if moment else None
