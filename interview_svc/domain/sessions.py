"""Session: one interview. PREPARED → IN_PROGRESS → COMPLETED → EVALUATED, one per order."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from interview_svc.domain.questions import QuestionSet


class SessionStatus(StrEnum):
    """Where a session stands."""

    PREPARED = "PREPARED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    EVALUATED = "EVALUATED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class ValidationSource(StrEnum):
    """Who found the code valid."""

    PAYMENT = "PAYMENT"
    LOCAL_CACHE = "LOCAL_CACHE"


class SessionNotFound(LookupError):
    """There is no such session."""


class SessionNotPrepared(Exception):
    """The code is valid; its session is still being prepared."""


class SessionNotStartable(Exception):
    """The session isn't PREPARED: it was started before, or has ended."""

    def __init__(self, session_id: str, status: SessionStatus) -> None:
        super().__init__(f"session {session_id} is {status}, it can't be started")
        self.subject = session_id


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
    """An interview was started with an access code."""

    session_id: str
    access_code: str
    order_id: str
    access_code_id: str
    validated_by: ValidationSource
    occurred_at: datetime


@dataclass(slots=True)
class Session:
    """One interview, with the questions it was prepared with."""

    session_id: str
    order_id: str
    customer_id: str
    product_id: str
    access_code_id: str
    question_set: QuestionSet
    prepared_at: datetime
    status: SessionStatus = SessionStatus.PREPARED
    started_at: datetime | None = None
    validated_by: ValidationSource | None = None
    events: list[SessionPrepared | InterviewStarted] = field(default_factory=list, compare=False)

    def announce_prepared(self) -> None:
        """Says that the session waits for its code."""
        self.events.append(
            SessionPrepared(
                session_id=self.session_id,
                order_id=self.order_id,
                access_code_id=self.access_code_id,
                product_id=self.product_id,
                occurred_at=self.prepared_at,
            )
        )

    def start(self, access_code: str, validated_by: ValidationSource, now: datetime) -> None:
        """The interview begins; raises SessionNotStartable unless PREPARED."""
        if self.status is not SessionStatus.PREPARED:
            raise SessionNotStartable(self.session_id, self.status)
        self.status, self.started_at = SessionStatus.IN_PROGRESS, now
        self.validated_by = validated_by
        self.events.append(
            InterviewStarted(
                session_id=self.session_id,
                access_code=access_code,
                order_id=self.order_id,
                access_code_id=self.access_code_id,
                validated_by=validated_by,
                occurred_at=now,
            )
        )
