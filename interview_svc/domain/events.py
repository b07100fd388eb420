"""The domain events that interview's aggregates record."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ValidationSource(StrEnum):
    """Where the validation of an access code came from."""

    PAYMENT = "PAYMENT"
    LOCAL_CACHE = "LOCAL_CACHE"


class CancelReason(StrEnum):
    """Why a session was cancelled."""

    REFUNDED = "REFUNDED"
    ACCESS_CODE_REVOKED = "ACCESS_CODE_REVOKED"
    USE_REJECTED = "USE_REJECTED"
    REQUESTED = "REQUESTED"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where mails about a session go, and in which language."""

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
    """An interview was started with an access code.

    Recorded again, with its `refund_id`, in reply to a refund request. `interview_ended` is true if
    the interview was completed: it counts also if payment rejects the use of the code.
    """

    session_id: str
    access_code: str
    order_id: str
    access_code_id: str
    started_at: datetime
    validated_by: ValidationSource
    occurred_at: datetime
    refund_id: str = ""
    interview_ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWithheld:
    """The reply to a refund request: the session has not started and will not start meanwhile."""

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
    """A session was cancelled."""

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
    """The time of a session ended."""

    session_id: str
    order_id: str
    was_started: bool
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackPublished:
    """Feedback on an interview was published."""

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
