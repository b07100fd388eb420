"""The feedback on sessions, in PostgreSQL."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.errors import FeedbackNotFound
from interview_svc.domain.feedback import Assessment, Feedback, QuestionComment
from interview_svc.storage.tables import feedback, sessions

_COLUMNS = ("feedback_id", "session_id", "given_by", "created_at")


class SqlFeedbacks:
    """The feedback of one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, published: Feedback) -> None:
        """Inserts feedback."""
        row = {name: getattr(published, name) for name in _COLUMNS}
        assessment = asdict(published.assessment)
        await self._connection.execute(insert(feedback).values(**row, **assessment))

    async def get(self, session_id: str, *, customer_id: str | None) -> Feedback:
        """The feedback on a session; `customer_id` restricts to a customer's sessions.

        Raises FeedbackNotFound.
        """
        statement = select(feedback).where(feedback.c.session_id == session_id)
        if customer_id is not None:
            visible = select(sessions.c.session_id).where(sessions.c.customer_id == customer_id)
            statement = statement.where(feedback.c.session_id.in_(visible))
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise FeedbackNotFound(f"session {session_id} has no feedback")
        return _feedback(row)


def _feedback(row: Row[Any]) -> Feedback:
    comments = tuple(QuestionComment(**comment) for comment in row.comments)
    return Feedback(
        assessment=Assessment(row.rating, row.summary, comments),
        **{name: getattr(row, name) for name in _COLUMNS},
    )
