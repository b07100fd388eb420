"""QARecord: a question that a session has asked, and its answer.

OPEN → ANSWERED | MISSED
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from interview_svc.domain.errors import AnswerTooLate, QuestionNotOpen


class QARecordStatus(StrEnum):
    """The states of an asked question, named as in the contract."""

    OPEN = "OPEN"
    ANSWERED = "ANSWERED"
    MISSED = "MISSED"


@dataclass(slots=True)
class QARecord:
    """One asked question. An answer is accepted strictly before `answer_by`."""

    session_id: str
    number: int
    question_id: str
    asked_at: datetime
    answer_by: datetime
    answer: str = ""
    answered_at: datetime | None = None

    def status_at(self, moment: datetime) -> QARecordStatus:
        """The status at a moment; for a session that has ended, use its end."""
        if self.answered_at is not None:
            return QARecordStatus.ANSWERED
        return QARecordStatus.OPEN if moment < self.answer_by else QARecordStatus.MISSED

    def accept_answer(self, answer: str, now: datetime, deadline: datetime) -> None:
        """Stores the answer; `deadline` is the session's.

        Raises QuestionNotOpen if it is answered, AnswerTooLate from `answer_by` or `deadline` on.
        """
        if self.answered_at is not None:
            raise QuestionNotOpen(self.session_id, self.question_id, QARecordStatus.ANSWERED)
        if now >= (answer_by := min(self.answer_by, deadline)):
            raise AnswerTooLate(self.session_id, self.question_id, answer_by)
        self.answer, self.answered_at = answer, now
