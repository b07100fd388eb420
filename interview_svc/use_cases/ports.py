"""The ports of the use cases: the repositories of one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from interview_svc.domain.cached_code import CachedCode
from interview_svc.domain.feedback import Feedback
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.sessions import Session

Clock = Callable[[], datetime]
"""Returns the present time, UTC-aware. A use case reads it after it has locked its rows: so the
times of an object's changes are in the order of the changes."""


class CachedCodes(Protocol):
    """The local cache of access codes. Locks are held until the end of the transaction."""

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CachedCode]:
        """Locks and returns the existing cached codes, by order."""

    async def get_by_code(self, code: str) -> CachedCode | None:
        """Locks and returns the cached code with this code text."""

    async def add_many(self, cached: Sequence[CachedCode]) -> set[str]:
        """Inserts those whose order has none yet; returns the order ids of the inserted ones."""

    async def save_many(self, cached: Sequence[CachedCode]) -> None:
        """Updates locked cached codes."""

    async def delete_many(self, order_ids: Sequence[str]) -> None:
        """Deletes the cached codes of orders."""


class Sessions(Protocol):
    """The sessions. Locks are held until the end of the transaction."""

    async def get(self, session_id: str, *, customer_id: str | None) -> Session:
        """Locks and returns one session; `customer_id` restricts to a customer's sessions.

        Raises SessionNotFound.
        """

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, Session]:
        """Locks and returns the existing sessions, by order."""

    async def get_overdue(self, now: datetime, limit: int) -> Sequence[Session]:
        """Locks and returns up to `limit` IN_PROGRESS sessions past their deadline.

        Skips sessions that another transaction has locked.
        """

    async def get_with_expired_code(
        self, now: datetime, limit: int
    ) -> Sequence[tuple[Session, datetime]]:
        """Locks and returns up to `limit` PREPARED sessions past their code's `expire_at`.

        Each with that time. Skips sessions that another transaction has locked.
        """

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        """Inserts those whose order has none yet; returns the ids of the inserted ones."""

    async def save_many(self, sessions: Sequence[Session]) -> None:
        """Updates locked sessions."""

    async def delete_many(self, session_ids: Sequence[str]) -> None:
        """Deletes sessions that were never started."""


class QARecords(Protocol):
    """The questions that sessions have asked. The lock on the session protects them."""

    async def latest(self, session_id: str) -> QARecord | None:
        """The record of the question asked most recently."""

    async def get(self, session_id: str, question_id: str) -> QARecord | None:
        """The record of a question, None if it was not asked."""

    async def asked_question_ids(self, session_id: str) -> set[str]:
        """The ids of all questions that the session has asked."""

    async def add(self, record: QARecord) -> None:
        """Inserts the record of a question that is asked."""

    async def save(self, record: QARecord) -> None:
        """Updates the answer of a record."""


class Feedbacks(Protocol):
    """The feedback on sessions."""

    async def add(self, feedback: Feedback) -> None:
        """Inserts feedback."""


class UnitOfWork(Protocol):
    """One transaction. The events of saved aggregates commit with it."""

    @property
    def cached_codes(self) -> CachedCodes: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def qa_records(self) -> QARecords: ...

    @property
    def feedback(self) -> Feedbacks: ...
