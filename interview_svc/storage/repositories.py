"""interview's repositories: rows to aggregates and back, in the transaction they are given."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.code_entries import CodeEntry, CodeRecord, CodeStatus
from interview_svc.domain.questions import Question, QuestionSet
from interview_svc.domain.sessions import (
    Session,
    SessionNotFound,
    SessionStatus,
    ValidationSource,
)
from interview_svc.storage import tables
from runtime.paging import after

_SESSION_COLUMNS = [column.name for column in tables.sessions.columns]


class CodeEntryRows:
    """The copies of access codes."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CodeEntry]:
        """Those that exist, by order, locked in the order of their ids."""
        table = tables.code_entries
        statement = select(table).where(table.c.order_id.in_(order_ids))
        statement = statement.order_by(table.c.order_id).with_for_update()
        return {row.order_id: _entry(row) for row in await self._connection.execute(statement)}

    async def get_by_code(self, code: str) -> CodeEntry | None:
        """The entry of a code, locked."""
        table = tables.code_entries
        statement = select(table).where(table.c.code == code).with_for_update()
        row = (await self._connection.execute(statement)).first()
        return _entry(row) if row else None

    async def save_many(self, entries: Sequence[CodeEntry]) -> None:
        """Adds or updates; a newer version that came meanwhile stays."""
        if not entries:
            return
        table = tables.code_entries
        statement = insert(table)
        new = statement.excluded
        changed = {
            column.name: new[column.name] for column in table.columns if column.name != "order_id"
        }
        statement = statement.on_conflict_do_update(
            index_elements=["order_id"], set_=changed, where=new.version > table.c.version
        )
        await self._connection.execute(statement, [asdict(entry.record) for entry in entries])


class SessionRows:
    """The sessions."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, session_id: str, *, only: str | None) -> Session:
        """One session, if `only` may see it; raises SessionNotFound."""
        table = tables.sessions
        statement = select(table).where(table.c.session_id == session_id)
        if only is not None:
            statement = statement.where(table.c.customer_id == only)
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise SessionNotFound(f"no session {session_id}")
        return _session(row)

    async def orders_with_session(self, order_ids: Sequence[str]) -> set[str]:
        """Those of the orders that have one."""
        column = tables.sessions.c.order_id
        found = await self._connection.execute(select(column).where(column.in_(order_ids)))
        return set(found.scalars())

    async def get_by_order(self, order_id: str) -> Session | None:
        """The order's session, locked."""
        table = tables.sessions
        statement = select(table).where(table.c.order_id == order_id).with_for_update()
        row = (await self._connection.execute(statement)).first()
        return _session(row) if row else None

    async def page(
        self,
        order_id: str,
        customer_id: str,
        status: str,
        last: str,
        limit: int,
        *,
        only: str | None,
    ) -> list[Session]:
        """Sessions after `last`, newest first; "" doesn't restrict. `only` is who may see them."""
        table = tables.sessions
        statement: Select[Any] = select(table)
        if only is not None:
            statement = statement.where(table.c.customer_id == only)
        wanted = {"order_id": order_id, "customer_id": customer_id, "status": status}
        for name, value in wanted.items():
            statement = statement.where(table.c[name] == value) if value else statement
        statement = after(statement, table.c.session_id, last, limit, newest_first=True)
        return [_session(row) for row in await self._connection.execute(statement)]

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        """Adds those whose order has none yet; returns the ids of those added."""
        if not sessions:
            return set()
        table = tables.sessions
        rows = [_row(session) for session in sessions]
        statement = insert(table).values(rows).on_conflict_do_nothing()
        added = await self._connection.execute(statement.returning(table.c.session_id))
        return set(added.scalars())

    async def save(self, session: Session) -> None:
        """Updates what changes in a session's life."""
        table = tables.sessions
        await self._connection.execute(
            update(table)
            .where(table.c.session_id == session.session_id)
            .values(
                status=session.status,
                started_at=session.started_at,
                validated_by=session.validated_by,
            )
        )


class WatermarkRow:
    """How fresh the copies are."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def raise_to(self, as_of: datetime, stream_sequence: int) -> None:
        """Notes payment's watermark if it is newer than the one known."""
        table = tables.payment_watermark
        statement = insert(table).values(singleton=1, as_of=as_of, stream_sequence=stream_sequence)
        new = statement.excluded
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["singleton"],
                set_={"as_of": new.as_of, "stream_sequence": new.stream_sequence},
                where=new.stream_sequence > table.c.stream_sequence,
            )
        )


def _entry(row: Row[Any]) -> CodeEntry:
    return CodeEntry(
        CodeRecord(
            order_id=row.order_id,
            access_code_id=row.access_code_id,
            code=row.code,
            status=CodeStatus(row.status),
            expire_at=row.expire_at,
            version=row.version,
            product_id=row.product_id,
        )
    )


def _row(session: Session) -> dict[str, Any]:
    row = {name: getattr(session, name) for name in _SESSION_COLUMNS}
    return row | {"question_set": asdict(session.question_set)}


def _session(row: Row[Any]) -> Session:
    return Session(
        session_id=row.session_id,
        order_id=row.order_id,
        customer_id=row.customer_id,
        product_id=row.product_id,
        access_code_id=row.access_code_id,
        question_set=_question_set(row.question_set),
        prepared_at=row.prepared_at,
        status=SessionStatus(row.status),
        started_at=row.started_at,
        validated_by=ValidationSource(row.validated_by) if row.validated_by else None,
    )


def _question_set(stored: dict[str, Any]) -> QuestionSet:
    questions = tuple(Question(**question) for question in stored["questions"])
    return QuestionSet(**(stored | {"questions": questions}))
