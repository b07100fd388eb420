"""Feedback: what somebody thinks of a completed interview."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


class FeedbackNotFound(LookupError):
    """There is no feedback on this session."""


class QuestionUnknown(ValueError):
    """A comment names a question that the session didn't ask."""


@dataclass(frozen=True, slots=True)
class QuestionComment:
    """What somebody thinks of one answer."""

    question_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """A rating from 1 (poor) to 5 (excellent), and words."""

    rating: int
    summary: str
    comments: Sequence[QuestionComment]


@dataclass(frozen=True, slots=True)
class Feedback:
    """An assessment that was given on a session. It never changes."""

    feedback_id: str
    session_id: str
    assessment: Assessment
    given_by: str
    created_at: datetime
