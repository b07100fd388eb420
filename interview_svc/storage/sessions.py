"""The sessions, in PostgreSQL."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, Select, Text, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.bulk_insert import DO_NOTHING, insert_rows
from interview_svc.domain.cached_code import CodeStatus
from interview_svc.domain.errors import SessionNotFound
from interview_svc.domain.events import CancelReason, Recipient, ValidationSource
from interview_svc.domain.questions import Question, QuestionSet
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session
from interview_svc.storage.tables import cached_codes, sessions
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc import pagination

_RECIPIENT = ("email", "display_name", "language_code")
_COLUMNS = [
    column.name for column in sessions.columns if column.name not in {*_RECIPIENT, "question_set"}
]
_CHANGING = (
    "access_code_id",
    "status",
    "access_code",
    "started_at",
    "validated_by",
    "deadline_at",
    "ended_at",
    "cancel_reason",
    "answered_count",
    "use_rejected",
    "start_reannounced_at",
)
_LIVE = (CodeStatus.ACTIVE, CodeStatus.SUSPENDED)
# Built once: to build a statement costs more than to execute it.
_LOCK = (
    select(sessions)
    .where(sessions.c.order_id == func.any(bindparam("order_ids", type_=ARRAY(Text))))
    .order_by(sessions.c.order_id)
    .with_for_update()
)
_SAVE = (
    update(sessions)
    .where(sessions.c.session_id == bindparam("id"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGING})
)


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Restricts a list of sessions; an empty field does not restrict."""

    order_id: str = ""
    customer_id: str = ""
    status: SessionStatus | None = None


class SqlSessions:
    """The sessions of one transaction."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(self, session_id: str, *, customer_id: str | None, lock: bool = True) -> Session:
        """Returns one session, locked by default; `customer_id` restricts to a customer's sessions.

        Raises SessionNotFound.
        """
        statement = select(sessions).where(sessions.c.session_id == session_id)
        if customer_id is not None:
            statement = statement.where(sessions.c.customer_id == customer_id)
        statement = statement.with_for_update() if lock else statement
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise SessionNotFound(f"there is no session {session_id}")
        return _session(row)

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, Session]:
        """Locks and returns the existing sessions, by order, in the order of their order ids."""
        if not order_ids:
            return {}
        rows = await self._connection.execute(_LOCK, {"order_ids": order_ids})
        return {row.order_id: _session(row) for row in rows}

    async def exists(self, order_id: str) -> bool:
        """Whether the order has a session."""
        statement = select(sessions.c.session_id).where(sessions.c.order_id == order_id)
        return (await self._connection.execute(statement)).first() is not None

    async def page(
        self, filters: SessionFilter, after: str, limit: int, *, customer_id: str | None
    ) -> list[Session]:
        """Sessions after the id `after`, newest first.

        `customer_id` restricts to the sessions that the caller may see.
        """
        statement: Select[Any] = select(sessions)
        if customer_id is not None:
            statement = statement.where(sessions.c.customer_id == customer_id)
        for name in ("order_id", "customer_id"):
            if value := getattr(filters, name):
                statement = statement.where(sessions.c[name] == value)
        status_filter = sessions.c.status, filters.status or ""
        of_one = customer_id is not None or bool(filters.order_id or filters.customer_id)
        statement = pagination.newest_of_status(
            statement, sessions.c.session_id, after, limit, status_filter, of_one=of_one
        )
        return [_session(row) for row in await self._connection.execute(statement)]

    async def get_overdue(self, now: datetime, limit: int) -> Sequence[Session]:
        """Locks and returns up to `limit` IN_PROGRESS sessions past their deadline.

        Skips sessions that another transaction has locked.
        """
        statement = select(sessions).where(
            sessions.c.status == SessionStatus.IN_PROGRESS, sessions.c.deadline_at <= now
        )
        statement = statement.limit(limit).with_for_update(skip_locked=True)
        return [_session(row) for row in await self._connection.execute(statement)]

    async def get_with_expired_code(
        self, now: datetime, limit: int
    ) -> Sequence[tuple[Session, datetime]]:
        """Locks and returns up to `limit` PREPARED sessions past their code's `expire_at`.

        Each with that time. Skips sessions that another transaction has locked.
        """
        statement = (
            select(sessions, cached_codes.c.expire_at)
            .join(cached_codes, cached_codes.c.order_id == sessions.c.order_id)
            .where(sessions.c.status == SessionStatus.PREPARED)
            .where(cached_codes.c.status.in_(_LIVE), cached_codes.c.expire_at <= now)
            .limit(limit)
            .with_for_update(of=sessions, skip_locked=True)
        )
        rows = await self._connection.execute(statement)
        return [(_session(row), row.expire_at) for row in rows]

    async def add_many(self, new: Sequence[Session]) -> set[str]:
        """Inserts those whose order has none yet; returns the ids of the inserted ones."""
        rows = [_row(session) for session in new]
        added = await insert_rows(
            self._connection, sessions, rows, DO_NOTHING, returning="session_id"
        )
        self._collect_events(session for session in new if session.session_id in added)
        return added

    async def save_many(self, changed: Sequence[Session]) -> None:
        """Updates the columns that can change."""
        if not changed:
            return
        rows = [
            {
                "id": session.session_id,
                **{f"new_{name}": getattr(session, name) for name in _CHANGING},
            }
            for session in changed
        ]
        await self._connection.execute(_SAVE, rows)
        self._collect_events(changed)

    async def delete_many(self, session_ids: Sequence[str]) -> None:
        """Deletes sessions that were never started."""
        await self._connection.execute(
            delete(sessions).where(sessions.c.session_id.in_(session_ids))
        )


def _row(session: Session) -> dict[str, Any]:
    row = {name: getattr(session, name) for name in _COLUMNS}
    row |= {name: getattr(session.recipient, name) for name in _RECIPIENT}
    return row | {"question_set": _question_set_json(session.question_set)}


@lru_cache
def _question_set_json(question_set: QuestionSet) -> str:
    """A session's copy of its set; few different ones are in use."""
    return json.dumps(asdict(question_set), ensure_ascii=False)


def _session(row: Row[Any]) -> Session:
    stored = {name: getattr(row, name) for name in _COLUMNS}
    return Session(
        **{
            **stored,
            "recipient": Recipient(row.email, row.display_name, row.language_code),
            "question_set": _question_set(row.question_set),
            "status": SessionStatus(row.status),
            "validated_by": ValidationSource(row.validated_by) if row.validated_by else None,
            "cancel_reason": CancelReason(row.cancel_reason) if row.cancel_reason else None,
        }
    )


def _question_set(stored: dict[str, Any]) -> QuestionSet:
    questions = tuple(Question(**question) for question in stored["questions"])
    return QuestionSet(**(stored | {"questions": questions}))
