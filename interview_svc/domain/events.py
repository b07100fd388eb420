"""What interview's aggregates announce."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ValidationSource(StrEnum):
    """Who found the code valid."""

    PAYMENT = "PAYMENT"
    LOCAL_CACHE = "LOCAL_CACHE"


class CancelReason(StrEnum):
    """Why a session was called off."""

    REFUNDED = "REFUNDED"
    ACCESS_CODE_REVOKED = "ACCESS_CODE_REVOKED"
    USE_REJECTED = "USE_REJECTED"
    REQUESTED = "REQUESTED"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom to tell what becomes of a session."""

    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPrepared:
    """A session was prepared for a paid order."""

    session_id: str
    order_id: str
    access_code_id: str
    product_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InterviewStarted:
    """An interview was started with an access code; told again to a refund that asks."""

    session_id: str
    access_code: str
    order_id: str
    access_code_id: str
    started_at: datetime
    validated_by: ValidationSource
    occurred_at: datetime
    refund_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWithheld:
    """The answer to a refund that asks: the interview hasn't started and won't meanwhile."""

    order_id: str
    refund_id: str
    session_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InterviewCompleted:
    """An interview was completed."""

    session_id: str
    order_id: str
    answered_count: int
    question_count: int
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCancelled:
    """A session was called off."""

    session_id: str
    order_id: str
    cancel_reason: CancelReason
    was_started: bool
    customer_id: str
    recipient: Recipient
    product_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionExpired:
    """A session was ended by the clock."""

    session_id: str
    order_id: str
    was_started: bool
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackPublished:
    """Feedback on an interview was given."""

    session_id: str
    order_id: str
    feedback_id: str
    rating: int
    customer_id: str
    recipient: Recipient
    product_id: str
    occurred_at: datetime


SessionEvent = (
    SessionPrepared
    | InterviewStarted
    | InterviewCompleted
    | SessionCancelled
    | SessionExpired
    | FeedbackPublished
)
DomainEvent = SessionEvent | SessionWithheld
