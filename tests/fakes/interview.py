"""interview's unit of work in memory: the ports of the use cases, to be copied deeply.

A `deepcopy` of it is a transaction that can be rolled back: the copy shares nothing with it.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime

from interview_svc.domain.cached_code import CachedCode, CodeStatus
from interview_svc.domain.errors import SessionNotFound
from interview_svc.domain.events import DomainEvent
from interview_svc.domain.feedback import Feedback
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


@dataclass
class InMemoryCachedCodes:
    """By order."""

    events: list[DomainEvent]
    saved: dict[str, CachedCode] = field(default_factory=dict)

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CachedCode]:
        return {id_: deepcopy(self.saved[id_]) for id_ in order_ids if id_ in self.saved}

    async def get_by_code(self, code: str, *, lock: bool = True) -> CachedCode | None:  # noqa: ARG002  the fake has no locks
        found = (cached for cached in self.saved.values() if cached.record.code == code)
        return deepcopy(next(found, None))

    async def add_many(self, cached: Sequence[CachedCode]) -> set[str]:
        new = {one.record.order_id: one for one in cached if one.record.order_id not in self.saved}
        await self.save_many(list(new.values()))
        return set(new)

    async def save_many(self, cached: Sequence[CachedCode]) -> None:
        for code in cached:
            self.events += code.events
            code.events.clear()
            self.saved[code.record.order_id] = deepcopy(code)

    async def delete_many(self, order_ids: Sequence[str]) -> None:
        for order_id in order_ids:
            self.saved.pop(order_id, None)


@dataclass
class InMemorySessions:
    """By order."""

    events: list[DomainEvent]
    cached_codes: InMemoryCachedCodes
    saved: dict[str, Session] = field(default_factory=dict)

    async def get(self, session_id: str, *, customer_id: str | None) -> Session:
        for session in self.saved.values():
            if session.session_id == session_id and customer_id in {None, session.customer_id}:
                return deepcopy(session)
        raise SessionNotFound(session_id)

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, Session]:
        return {id_: deepcopy(self.saved[id_]) for id_ in order_ids if id_ in self.saved}

    async def get_overdue(self, now: datetime, limit: int) -> Sequence[Session]:
        found = [
            session
            for session in self.saved.values()
            if session.status is SessionStatus.IN_PROGRESS
            and session.deadline_at
            and session.deadline_at <= now
        ]
        return deepcopy(found[:limit])

    async def get_with_expired_code(
        self, now: datetime, limit: int
    ) -> Sequence[tuple[Session, datetime]]:
        live = {CodeStatus.ACTIVE, CodeStatus.SUSPENDED}
        found = [
            (session, cached.record.expire_at)
            for session in self.saved.values()
            if session.status is SessionStatus.PREPARED
            and (cached := self.cached_codes.saved.get(session.order_id))
            and cached.record.status in live
            and cached.record.expire_at <= now
        ]
        return deepcopy(found[:limit])

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        new = [session for session in sessions if session.order_id not in self.saved]
        await self.save_many(new)
        return {session.session_id for session in new}

    async def save_many(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            self.events += session.events
            session.events.clear()
            self.saved[session.order_id] = deepcopy(session)

    async def delete_many(self, session_ids: Sequence[str]) -> None:
        for order_id, session in list(self.saved.items()):
            if session.session_id in session_ids:
                del self.saved[order_id]


@dataclass
class InMemoryQARecords:
    saved: list[QARecord] = field(default_factory=list)

    async def latest(self, session_id: str) -> QARecord | None:
        records = [record for record in self.saved if record.session_id == session_id]
        return deepcopy(max(records, key=lambda record: record.number, default=None))

    async def get(self, session_id: str, question_id: str) -> QARecord | None:
        key = session_id, question_id
        found = (record for record in self.saved if (record.session_id, record.question_id) == key)
        return deepcopy(next(found, None))

    async def asked_question_ids(self, session_id: str) -> set[str]:
        return {record.question_id for record in self.saved if record.session_id == session_id}

    async def add(self, record: QARecord) -> None:
        assert await self.get(record.session_id, record.question_id) is None
        self.saved.append(deepcopy(record))

    async def save(self, record: QARecord) -> None:
        key = record.session_id, record.number
        others = [other for other in self.saved if (other.session_id, other.number) != key]
        self.saved = [*others, deepcopy(record)]


@dataclass
class InMemoryFeedbacks:
    """By session."""

    saved: dict[str, Feedback] = field(default_factory=dict)

    async def add(self, feedback: Feedback) -> None:
        assert feedback.session_id not in self.saved
        self.saved[feedback.session_id] = feedback


class InMemoryUnitOfWork:
    """A unit of work; `now` is the database's clock, `events` are those of saved aggregates."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.events: list[DomainEvent] = []
        self.cached_codes = InMemoryCachedCodes(self.events)
        self.sessions = InMemorySessions(self.events, self.cached_codes)
        self.qa_records = InMemoryQARecords()
        self.feedback = InMemoryFeedbacks()

    async def clock(self) -> datetime:
        return self.now
