"""QARecord: a question that a session asked, and its answer."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class QARecordStatus(StrEnum):
    """What became of a question."""

    OPEN = "OPEN"
    ANSWERED = "ANSWERED"
    MISSED = "MISSED"


class QuestionNotOpen(Exception):
    """The question wasn't asked yet, or was answered before."""

    def __init__(
        self, session_id: str, state: str, question_id: str, asked: QARecordStatus | None
    ) -> None:
        """`asked` is what became of the question; None if it wasn't asked yet."""
        standing = asked or "not asked yet"
        super().__init__(
            f"session {session_id} is {state} and its question {question_id} is {standing},"
            " which can't be answered"
        )
        self.subject = session_id


class AnswerTooLate(Exception):
    """The time for the answer was over."""

    def __init__(self, session_id: str, state: str, question_id: str, answer_by: datetime) -> None:
        super().__init__(
            f"session {session_id} is {state} and its question {question_id} is"
            f" {QARecordStatus.MISSED}, which can't be answered after {answer_by.isoformat()}"
        )
        self.subject = session_id


@dataclass(slots=True)
class QARecord:
    """One question of a session. It may be answered strictly before `answer_by`."""

    session_id: str
    number: int
    question_id: str
    asked_at: datetime
    answer_by: datetime
    answer: str = ""
    answered_at: datetime | None = None

    def status_at(self, moment: datetime) -> QARecordStatus:
        """What became of it until a moment; for a session that has ended, until its end."""
        if self.answered_at is not None:
            return QARecordStatus.ANSWERED
        return QARecordStatus.OPEN if moment < self.answer_by else QARecordStatus.MISSED
