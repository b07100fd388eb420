"""What the use cases need of the outside: repositories, and who evaluates an interview."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interview_svc.domain.cached_code import CachedCode
from interview_svc.domain.feedback import Assessment, Feedback
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.questions import QuestionBank
from interview_svc.domain.sessions import Session


class CachedCodes(Protocol):
    """The copies of access codes. What is loaded is locked until the end of the transaction."""

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CachedCode]:
        """Those that exist, by order."""

    async def get_by_code(self, code: str) -> CachedCode | None:
        """The entry of a code."""

    async def add_many(self, entries: Sequence[CachedCode]) -> set[str]:
        """Adds those whose order has none yet; returns the orders of those added."""

    async def save_many(self, entries: Sequence[CachedCode]) -> None:
        """Updates."""

    async def remove_many(self, order_ids: Sequence[str]) -> None:
        """Forgets orders that payment doesn't know."""


class Sessions(Protocol):
    """The sessions. What is loaded is locked until the end of the transaction."""

    async def lock(self, session_id: str, *, only: str | None) -> Session:
        """One session, if the customer `only` may see it; raises SessionNotFound."""

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, Session]:
        """Those that exist, by order."""

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        """Adds those whose order has none yet; returns the ids of those added."""

    async def save_many(self, sessions: Sequence[Session]) -> None:
        """Updates."""

    async def remove_many(self, session_ids: Sequence[str]) -> None:
        """Removes sessions that never began."""

    async def overdue(self, now: datetime, limit: int) -> Sequence[Session]:
        """Some that run past their deadline; those that somebody else holds are left out."""

    async def lapsed(self, now: datetime, limit: int) -> Sequence[tuple[Session, datetime]]:
        """Some PREPARED ones past their code's `expire_at`, and that; likewise."""


class QARecords(Protocol):
    """The questions that sessions have asked; guarded by the lock on the session."""

    async def latest(self, session_id: str) -> QARecord | None:
        """The one asked last."""

    async def find(self, session_id: str, question_id: str) -> QARecord | None:
        """The record of a question, if it was asked."""

    async def add(self, record: QARecord) -> None:
        """A question was asked."""

    async def save(self, record: QARecord) -> None:
        """It was answered."""


class Feedbacks(Protocol):
    """The feedback on sessions."""

    async def add(self, feedback: Feedback) -> None:
        """Feedback was given."""


class UnitOfWork(Protocol):
    """What one transaction changes; what the aggregates announce commits with it."""

    @property
    def entries(self) -> CachedCodes: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def qa_records(self) -> QARecords: ...

    @property
    def feedback(self) -> Feedbacks: ...


class Evaluator(Protocol):
    """Makes an assessment of a completed interview. May take its time: it is in no transaction."""

    async def evaluate(
        self, session: Session, records: Sequence[QARecord], given: Assessment
    ) -> Assessment:
        """The assessment to publish; `given` is what a person said. Raises QuestionUnknown."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a new session is made from."""

    bank: QuestionBank
    new_id: Callable[[], str]
    now: datetime
