"""The sessions, in the transaction they are given."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.cached_code import CodeStatus
from interview_svc.domain.events import CancelReason, Recipient, ValidationSource
from interview_svc.domain.questions import Question, QuestionSet
from interview_svc.domain.session_states import SessionNotFound, SessionStatus
from interview_svc.domain.sessions import Session
from interview_svc.storage.tables import cached_codes, sessions
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import after

_RECIPIENT = ("email", "display_name", "language_code")
_COLUMNS = [
    column.name for column in sessions.columns if column.name not in {*_RECIPIENT, "question_set"}
]
# What changes in a session's life.
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
    "announced_again_at",
)
_HELD_BACK_OR_NOT = (CodeStatus.ACTIVE, CodeStatus.SUSPENDED)


class SqlSessions:
    """The sessions."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(self, session_id: str, *, only: str | None) -> Session:
        """One session, if `only` may see it; raises SessionNotFound."""
        return await self._one(session_id, only, select(sessions))

    async def lock(self, session_id: str, *, only: str | None) -> Session:
        """The same, locked."""
        return await self._one(session_id, only, select(sessions).with_for_update())

    async def _one(self, session_id: str, only: str | None, statement: Select[Any]) -> Session:
        statement = statement.where(sessions.c.session_id == session_id)
        if only is not None:
            statement = statement.where(sessions.c.customer_id == only)
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise SessionNotFound(f"no session {session_id}")
        return _session(row)

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, Session]:
        """Those that exist, by order, locked in the order of these."""
        if not order_ids:
            return {}
        statement = select(sessions).where(sessions.c.order_id.in_(order_ids))
        statement = statement.order_by(sessions.c.order_id).with_for_update()
        return {row.order_id: _session(row) for row in await self._connection.execute(statement)}

    async def exists(self, order_id: str) -> bool:
        """Whether an order has one."""
        statement = select(sessions.c.session_id).where(sessions.c.order_id == order_id)
        return (await self._connection.execute(statement)).first() is not None

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
        statement: Select[Any] = select(sessions)
        if only is not None:
            statement = statement.where(sessions.c.customer_id == only)
        wanted = {"order_id": order_id, "customer_id": customer_id, "status": status}
        for name, value in wanted.items():
            statement = statement.where(sessions.c[name] == value) if value else statement
        statement = after(statement, sessions.c.session_id, last, limit, newest_first=True)
        return [_session(row) for row in await self._connection.execute(statement)]

    async def overdue(self, now: datetime, limit: int) -> Sequence[Session]:
        """Some that run past their deadline, locked; those that somebody holds are left out."""
        statement = select(sessions).where(
            sessions.c.status == SessionStatus.IN_PROGRESS, sessions.c.deadline_at <= now
        )
        statement = statement.limit(limit).with_for_update(skip_locked=True)
        return [_session(row) for row in await self._connection.execute(statement)]

    async def lapsed(self, now: datetime, limit: int) -> Sequence[tuple[Session, datetime]]:
        """Some PREPARED ones past their code's `expire_at`, and that; likewise."""
        statement = (
            select(sessions, cached_codes.c.expire_at)
            .join(cached_codes, cached_codes.c.order_id == sessions.c.order_id)
            .where(sessions.c.status == SessionStatus.PREPARED)
            .where(cached_codes.c.status.in_(_HELD_BACK_OR_NOT), cached_codes.c.expire_at <= now)
            .limit(limit)
            .with_for_update(of=sessions, skip_locked=True)
        )
        rows = await self._connection.execute(statement)
        return [(_session(row), row.expire_at) for row in rows]

    async def add_many(self, new: Sequence[Session]) -> set[str]:
        """Adds those whose order has none yet; returns the ids of those added."""
        if not new:
            return set()
        statement = insert(sessions).values([_row(session) for session in new])
        statement = statement.on_conflict_do_nothing()
        result = await self._connection.execute(statement.returning(sessions.c.session_id))
        added = set(result.scalars())
        self._collect_events(session for session in new if session.session_id in added)
        return added

    async def remove_many(self, session_ids: Sequence[str]) -> None:
        """Removes sessions that never began."""
        await self._connection.execute(
            delete(sessions).where(sessions.c.session_id.in_(session_ids))
        )

    async def save_many(self, changed: Sequence[Session]) -> None:
        """Updates what changes in a session's life."""
        if not changed:
            return
        statement = (
            update(sessions)
            .where(sessions.c.session_id == bindparam("id"))
            .values({name: bindparam(f"new_{name}") for name in _CHANGING})
        )
        rows = [
            {"id": one.session_id, **{f"new_{name}": getattr(one, name) for name in _CHANGING}}
            for one in changed
        ]
        await self._connection.execute(statement, rows)
        self._collect_events(changed)


def _row(session: Session) -> dict[str, Any]:
    row = {name: getattr(session, name) for name in _COLUMNS}
    return {**row, **asdict(session.recipient), "question_set": asdict(session.question_set)}


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
