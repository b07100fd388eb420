"""interview's unit of work in memory: the same protocol, to be copied deeply, told events in order.

`deepcopy` of it is a transaction that may be thrown away: the copy shares nothing with it.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime

from interview_svc.domain.cached_code import CachedCode, CodeStatus
from interview_svc.domain.events import DomainEvent
from interview_svc.domain.feedback import Feedback
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.session_states import SessionNotFound, SessionStatus
from interview_svc.domain.sessions import Session


@dataclass
class EntriesInMemory:
    told: list[DomainEvent]
    saved: dict[str, CachedCode] = field(default_factory=dict)

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CachedCode]:
        return {id_: deepcopy(self.saved[id_]) for id_ in order_ids if id_ in self.saved}

    async def get_by_code(self, code: str) -> CachedCode | None:
        found = (entry for entry in self.saved.values() if entry.record.code == code)
        return deepcopy(next(found, None))

    async def add_many(self, entries: Sequence[CachedCode]) -> set[str]:
        new = {one.record.order_id: one for one in entries if one.record.order_id not in self.saved}
        await self.save_many(list(new.values()))
        return set(new)

    async def save_many(self, entries: Sequence[CachedCode]) -> None:
        for entry in entries:
            self.told += entry.events
            entry.events.clear()
            self.saved[entry.record.order_id] = deepcopy(entry)

    async def remove_many(self, order_ids: Sequence[str]) -> None:
        for order_id in order_ids:
            self.saved.pop(order_id, None)


@dataclass
class SessionsInMemory:
    """By order."""

    told: list[DomainEvent]
    entries: EntriesInMemory
    saved: dict[str, Session] = field(default_factory=dict)

    async def lock(self, session_id: str, *, only: str | None) -> Session:
        for session in self.saved.values():
            if session.session_id == session_id and only in {None, session.customer_id}:
                return deepcopy(session)
        raise SessionNotFound(session_id)

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, Session]:
        return {id_: deepcopy(self.saved[id_]) for id_ in order_ids if id_ in self.saved}

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        new = [session for session in sessions if session.order_id not in self.saved]
        await self.save_many(new)
        return {session.session_id for session in new}

    async def save_many(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            self.told += session.events
            session.events.clear()
            self.saved[session.order_id] = deepcopy(session)

    async def remove_many(self, session_ids: Sequence[str]) -> None:
        for order_id in [o for o, one in self.saved.items() if one.session_id in session_ids]:
            del self.saved[order_id]

    async def overdue(self, now: datetime, limit: int) -> Sequence[Session]:
        found = [
            session
            for session in self.saved.values()
            if session.status is SessionStatus.IN_PROGRESS
            and session.deadline_at
            and session.deadline_at <= now
        ]
        return deepcopy(found[:limit])

    async def lapsed(self, now: datetime, limit: int) -> Sequence[tuple[Session, datetime]]:
        open_ = {CodeStatus.ACTIVE, CodeStatus.SUSPENDED}
        found = [
            (session, entry.record.expire_at)
            for session in self.saved.values()
            if session.status is SessionStatus.PREPARED
            and (entry := self.entries.saved.get(session.order_id))
            and entry.record.status in open_
            and entry.record.expire_at <= now
        ]
        return deepcopy(found[:limit])


@dataclass
class QARecordsInMemory:
    saved: list[QARecord] = field(default_factory=list)

    async def latest(self, session_id: str) -> QARecord | None:
        mine = [record for record in self.saved if record.session_id == session_id]
        return deepcopy(max(mine, key=lambda record: record.number, default=None))

    async def find(self, session_id: str, question_id: str) -> QARecord | None:
        wanted = (session_id, question_id)
        found = (one for one in self.saved if (one.session_id, one.question_id) == wanted)
        return deepcopy(next(found, None))

    async def add(self, record: QARecord) -> None:
        assert await self.find(record.session_id, record.question_id) is None
        self.saved.append(deepcopy(record))

    async def save(self, record: QARecord) -> None:
        place = (record.session_id, record.number)
        others = [one for one in self.saved if (one.session_id, one.number) != place]
        self.saved = [*others, deepcopy(record)]


@dataclass
class FeedbackInMemory:
    saved: dict[str, Feedback] = field(default_factory=dict)

    async def add(self, feedback: Feedback) -> None:
        assert feedback.session_id not in self.saved
        self.saved[feedback.session_id] = feedback


class InMemory:
    """A unit of work. `told` is what its aggregates have announced, in order."""

    def __init__(self) -> None:
        self.told: list[DomainEvent] = []
        self.entries = EntriesInMemory(self.told)
        self.sessions = SessionsInMemory(self.told, self.entries)
        self.qa_records = QARecordsInMemory()
        self.feedback = FeedbackInMemory()
