"""Feedback: an operator's assessment of a completed interview."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from interview_svc.domain.errors import QuestionUnknown


@dataclass(frozen=True, slots=True)
class QuestionComment:
    """A comment on the answer to one question."""

    question_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """A rating from 1 (poor) to 5 (excellent), a summary and comments on single questions."""

    rating: int
    summary: str
    comments: Sequence[QuestionComment]


@dataclass(frozen=True, slots=True)
class Feedback:
    """The published assessment of a session. It never changes."""

    feedback_id: str
    session_id: str
    assessment: Assessment
    given_by: str
    created_at: datetime

    def check_comments(self, asked_question_ids: AbstractSet[str]) -> None:
        """Raises QuestionUnknown if a comment is about a question that was not asked."""
        for comment in self.assessment.comments:
            if comment.question_id not in asked_question_ids:
                raise QuestionUnknown(
                    f"session {self.session_id} has not asked question {comment.question_id}"
                )
