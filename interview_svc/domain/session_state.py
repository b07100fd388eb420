"""The state of a session: its status and its data."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from interview_svc.domain.events import CancelReason, Recipient, SessionEvent, ValidationSource
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.questions import Question, QuestionSet


class SessionStatus(StrEnum):
    """The statuses of a session, named as in the contract."""

    PREPARED = "PREPARED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    EVALUATED = "EVALUATED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


_OPEN = (SessionStatus.PREPARED, SessionStatus.IN_PROGRESS)
_DONE = (SessionStatus.COMPLETED, SessionStatus.EVALUATED)


@dataclass(slots=True)
class SessionState:
    """The data of one session. Only the methods of `Session` change it."""

    session_id: str
    order_id: str
    customer_id: str
    recipient: Recipient
    product_id: str
    access_code_id: str
    # Chosen when the session is prepared.
    question_set: QuestionSet
    prepared_at: datetime
    status: SessionStatus = SessionStatus.PREPARED
    # The code that started the session. A later reissue does not change it.
    access_code: str | None = None
    started_at: datetime | None = None
    validated_by: ValidationSource | None = None
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_reason: CancelReason | None = None
    answered_count: int = 0
    # payment rejected the use of the code that started the session.
    use_rejected: bool = False
    start_reannounced_at: datetime | None = None
    events: list[SessionEvent] = field(default_factory=list, compare=False)

    @property
    def was_started(self) -> bool:
        """Whether the interview was started, in whichever state the session is now."""
        return self.started_at is not None

    @property
    def is_open(self) -> bool:
        """Whether the session is PREPARED or IN_PROGRESS."""
        return self.status in _OPEN

    @property
    def start_reverted(self) -> bool:
        """Whether payment rejected the start of a session that was not completed.

        The customer has had no interview and gets none: the start counts as none.
        """
        return self.use_rejected and self.status not in _DONE

    @property
    def interview_ended(self) -> bool:
        """Whether the customer has had the interview: the session is COMPLETED or EVALUATED."""
        return self.status in _DONE

    @property
    def used_without_right(self) -> bool:
        """Whether the interview was completed although payment rejected the use of its code."""
        return self.use_rejected and self.status in _DONE

    def question(self, record: QARecord) -> Question:
        """The question of a record."""
        return self.question_set.questions[record.number - 1]
