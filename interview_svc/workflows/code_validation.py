"""Finding out whether a code may start its interview: payment is asked, or else our own copy.

payment knows the truth and is asked first. Only while it is away does the copy decide, and only
what it can know: a code that it holds as negative or run out is denied, an ACTIVE one is VALID if
the copy is fresh, and anything else isn't guessed. A preview may be answered from the answers of
the last seconds; a start never is.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from cachetools import TTLCache

from interview_svc.domain.cached_code import ValidationReason
from interview_svc.domain.events import ValidationSource
from interview_svc.storage.unit_of_work import Database
from interview_svc.use_cases.validation import (
    AccessCodes,
    PaymentAway,
    PaymentUnavailable,
    Validation,
)

_log = structlog.get_logger(__name__)
_MOST_PREVIEWS = 10_000


@dataclass(frozen=True, slots=True)
class _Answer:
    """What payment said, and when it began to be asked."""

    validation: Validation
    asked_at: float


class PreviewCache:
    """Answers of the last seconds, in this process; an event about an order ends its answers."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: TTLCache[str, _Answer] = TTLCache(_MOST_PREVIEWS, seconds, clock)
        # When something was heard of an order. Unbounded: it must outlast what it ends.
        self._heard_at: TTLCache[str, float] = TTLCache(float("inf"), seconds, clock)

    def find(self, code: str) -> Validation | None:
        """The answer about a code, unless something was heard since it was asked for."""
        if (answer := self._answers.get(code)) is None:
            return None
        heard_at = self._heard_at.get(answer.validation.record.order_id)
        if heard_at is not None and heard_at >= answer.asked_at:
            return None
        return answer.validation

    def now(self) -> float:
        """The moment to note before asking."""
        return self._clock()

    def keep(self, validation: Validation, asked_at: float) -> None:
        """Keeps what was answered to a question that began at `asked_at`."""
        self._answers[validation.record.code] = _Answer(validation, asked_at)

    def heard(self, order_ids: Iterable[str]) -> None:
        """Something about these orders has taken effect."""
        for order_id in order_ids:
            self._heard_at[order_id] = self._clock()


class CodeValidation:
    """Judges codes. Codes come in their one form."""

    def __init__(
        self,
        database: Database,
        codes: AccessCodes,
        previews: PreviewCache,
        max_staleness: timedelta,
    ) -> None:
        """The copy is fresh while what was heard of payment is at most `max_staleness` old."""
        self._database, self._codes, self._previews = database, codes, previews
        self._most_stale = max_staleness

    async def preview(self, code: str) -> Validation:
        """Whether a code could start its interview, as of a few seconds ago.

        Raises CodeNotFound, PaymentUnavailable.
        """
        if known := self._previews.find(code):
            return known
        asked_at = self._previews.now()
        validation = await self.validate(code)
        if validation.validated_by is ValidationSource.PAYMENT:
            self._previews.keep(validation, asked_at)
        return validation

    async def validate(self, code: str) -> Validation:
        """Whether a code may start its interview now; raises CodeNotFound, PaymentUnavailable."""
        try:
            return await self._codes.validate(code)
        except PaymentAway as away:
            return await self._by_copy(code, away)

    async def _by_copy(self, code: str, away: PaymentAway) -> Validation:
        async with self._database.read_only() as uow:
            if (entry := await uow.entries.find_by_code(code)) is None:
                raise PaymentUnavailable(str(away)) from away
            reason = entry.judge(datetime.now(UTC))
            order_id = entry.record.order_id
            if reason is ValidationReason.VALID and not await uow.watermarks.is_fresh(
                order_id, self._most_stale
            ):
                raise PaymentUnavailable(f"{away}; our copy of the code is stale") from away
        _log.info("judged by the copy", order_id=order_id, reason=reason, away=str(away))
        return Validation(reason, entry.record, ValidationSource.LOCAL_CACHE)
