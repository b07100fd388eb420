"""The questions that sessions have asked, and the answers, in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.qa_records import QARecord
from interview_svc.storage.tables import qa_records


class SqlQARecords:
    """The records of one transaction. The lock on the session protects them."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def latest(self, session_id: str) -> QARecord | None:
        """The record of the question asked most recently."""
        statement = select(qa_records).where(qa_records.c.session_id == session_id)
        statement = statement.order_by(qa_records.c.number.desc()).limit(1)
        row = (await self._connection.execute(statement)).first()
        return _record(row) if row else None

    async def get(self, session_id: str, question_id: str) -> QARecord | None:
        """The record of a question, None if it was not asked."""
        statement = select(qa_records).where(
            qa_records.c.session_id == session_id, qa_records.c.question_id == question_id
        )
        row = (await self._connection.execute(statement)).first()
        return _record(row) if row else None

    async def asked_question_ids(self, session_id: str) -> set[str]:
        """The ids of all questions that the session has asked."""
        statement = select(qa_records.c.question_id).where(qa_records.c.session_id == session_id)
        return set((await self._connection.execute(statement)).scalars())

    async def page(self, session_id: str, after: int, limit: int) -> Sequence[QARecord]:
        """A session's records with numbers after `after`, in the order of their numbers."""
        statement = select(qa_records).where(
            qa_records.c.session_id == session_id, qa_records.c.number > after
        )
        statement = statement.order_by(qa_records.c.number).limit(limit)
        return [_record(row) for row in await self._connection.execute(statement)]

    async def add(self, record: QARecord) -> None:
        """Inserts the record of a question that is asked."""
        await self._connection.execute(insert(qa_records).values(asdict(record)))

    async def save(self, record: QARecord) -> None:
        """Updates the answer of a record."""
        await self._connection.execute(
            update(qa_records)
            .where(qa_records.c.session_id == record.session_id)
            .where(qa_records.c.number == record.number)
            .values(answer=record.answer, answered_at=record.answered_at)
        )


def _record(row: Row[Any]) -> QARecord:
    return QARecord(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
