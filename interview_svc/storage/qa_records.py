"""Questions, answers and feedback, in the transaction they are given."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.feedback import Assessment, Feedback, FeedbackNotFound, QuestionComment
from interview_svc.domain.qa_records import QARecord
from interview_svc.storage.tables import feedback, qa_records, sessions


class SqlQARecords:
    """The questions that sessions have asked; guarded by the lock on the session."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def latest(self, session_id: str) -> QARecord | None:
        """The one asked last."""
        statement = select(qa_records).where(qa_records.c.session_id == session_id)
        statement = statement.order_by(qa_records.c.number.desc()).limit(1)
        row = (await self._connection.execute(statement)).first()
        return _record(row) if row else None

    async def find(self, session_id: str, question_id: str) -> QARecord | None:
        """The record of a question, if it was asked."""
        statement = select(qa_records).where(
            qa_records.c.session_id == session_id, qa_records.c.question_id == question_id
        )
        row = (await self._connection.execute(statement)).first()
        return _record(row) if row else None

    async def page(self, session_id: str, after: int, limit: int) -> Sequence[QARecord]:
        """A session's records after a number, in the order in which they were asked."""
        statement = select(qa_records).where(
            qa_records.c.session_id == session_id, qa_records.c.number > after
        )
        statement = statement.order_by(qa_records.c.number).limit(limit)
        return [_record(row) for row in await self._connection.execute(statement)]

    async def add(self, record: QARecord) -> None:
        """A question was asked."""
        await self._connection.execute(insert(qa_records).values(asdict(record)))

    async def save(self, record: QARecord) -> None:
        """It was answered."""
        await self._connection.execute(
            update(qa_records)
            .where(qa_records.c.session_id == record.session_id)
            .where(qa_records.c.number == record.number)
            .values(answer=record.answer, answered_at=record.answered_at)
        )


class SqlFeedback:
    """The feedback on sessions."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, given: Feedback) -> None:
        """Feedback was given."""
        assessment = asdict(given.assessment)
        row = {name: getattr(given, name) for name in _FEEDBACK_COLUMNS}
        await self._connection.execute(insert(feedback).values(**row, **assessment))

    async def get(self, session_id: str, *, only: str | None) -> Feedback:
        """The feedback on a session, if `only` may see that; raises FeedbackNotFound."""
        statement = select(feedback).where(feedback.c.session_id == session_id)
        if only is not None:
            mine = select(sessions.c.session_id).where(sessions.c.customer_id == only)
            statement = statement.where(feedback.c.session_id.in_(mine))
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise FeedbackNotFound(f"no feedback on session {session_id}")
        return _feedback(row)


_FEEDBACK_COLUMNS = ("feedback_id", "session_id", "given_by", "created_at")


def _record(row: Row[Any]) -> QARecord:
    return QARecord(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it


def _feedback(row: Row[Any]) -> Feedback:
    comments = tuple(QuestionComment(**comment) for comment in row.comments)
    return Feedback(
        assessment=Assessment(row.rating, row.summary, comments),
        **{name: getattr(row, name) for name in _FEEDBACK_COLUMNS},
    )
