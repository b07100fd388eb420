"""Validates access codes: by payment, and from the local cache during an outage of payment.

payment owns the codes and is always queried first. Only while it is unreachable, or refuses the
identity of interview, does the local cache decide, and only what it can know: it rejects a code
that it holds as expired or not ACTIVE, it accepts an ACTIVE code if the cache is fresh, and in
every other case the result is PaymentUnavailable. Any other error of payment is no outage. A
preview can be answered from the replies of the last seconds; a start cannot.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from cachetools import TTLCache

from interview_svc.domain.cached_code import ValidationReason
from interview_svc.domain.errors import CodeNotFound
from interview_svc.domain.events import ValidationSource
from interview_svc.storage.unit_of_work import Database
from interview_svc.use_cases.code_validation import (
    AccessCodes,
    PaymentUnavailable,
    PaymentUnreachable,
    Validation,
)
from runtime.clock import utc_now
from runtime.metrics.registry import Metrics

_log = structlog.get_logger(__name__)
_MAX_PREVIEWS = 10_000


@dataclass(frozen=True, slots=True)
class _Preview:
    """A reply of payment, and when its query began."""

    validation: Validation
    queried_at: float


class PreviewCache:
    """payment's replies of the last seconds, by code, in the memory of this process.

    Guarantee: no reply whose query began before an event about its order was handled in this
    process is returned after that event.
    """

    def __init__(self, ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._previews: TTLCache[str, _Preview] = TTLCache(_MAX_PREVIEWS, ttl_seconds, clock)
        # Unbounded: no entry may leave the cache before the previews that it invalidates.
        self._invalidated_at: TTLCache[str, float] = TTLCache(float("inf"), ttl_seconds, clock)

    def get(self, code: str) -> Validation | None:
        """The reply about a code, unless its order was invalidated since the query began."""
        if (preview := self._previews.get(code)) is None:
            return None
        invalidated_at = self._invalidated_at.get(preview.validation.record.order_id)
        if invalidated_at is not None and invalidated_at >= preview.queried_at:
            return None
        return preview.validation

    def now(self) -> float:
        """The time of the cache's clock, to be taken before a query."""
        return self._clock()

    def put(self, validation: Validation, queried_at: float) -> None:
        """Stores the reply to a query that began at `queried_at`."""
        self._previews[validation.record.code] = _Preview(validation, queried_at)

    def invalidate(self, order_ids: Iterable[str]) -> None:
        """Invalidates the replies about orders; call it after an event about them is handled."""
        for order_id in order_ids:
            self._invalidated_at[order_id] = self._clock()


class CodeValidation:
    """Validates codes in their normalised form."""

    def __init__(
        self,
        database: Database,
        codes: AccessCodes,
        previews: PreviewCache,
        max_staleness: timedelta,
        metrics: Metrics,
    ) -> None:
        """The local cache accepts codes while its staleness is at most `max_staleness`."""
        self._database, self._codes, self._previews = database, codes, previews
        self._max_staleness = max_staleness
        self._validations = metrics.counter(
            "code_validations",
            "Validations of access codes, by who decided (PAYMENT or LOCAL_CACHE) and the result:"
            " VALID, why it is not, or UNAVAILABLE if nobody could decide.",
            "source",
            "result",
        )

    async def preview(self, code: str) -> Validation:
        """Validates a code; the result can be some seconds old.

        Raises CodeNotFound, PaymentUnavailable.
        """
        if cached := self._previews.get(code):
            return cached
        queried_at = self._previews.now()
        validation = await self.validate(code)
        if validation.validated_by is ValidationSource.PAYMENT:
            self._previews.put(validation, queried_at)
        return validation

    async def validate(self, code: str) -> Validation:
        """Validates a code now; raises CodeNotFound, PaymentUnavailable."""
        source, result = ValidationSource.PAYMENT, "UNAVAILABLE"
        try:
            try:
                validation = await self._codes.validate(code)
            except PaymentUnreachable as outage:
                source = ValidationSource.LOCAL_CACHE
                validation = await self._validate_from_cache(code, outage)
        except CodeNotFound:
            result = "NOT_FOUND"
            raise
        else:
            result = validation.reason
            return validation
        finally:
            self._validations.labels(source, result).inc()

    async def _validate_from_cache(self, code: str, outage: PaymentUnreachable) -> Validation:
        async with self._database.read_only() as uow:
            if (cached := await uow.cached_codes.get_by_code(code, lock=False)) is None:
                raise PaymentUnavailable(str(outage)) from outage
            reason = cached.validate(utc_now())
            order_id = cached.record.order_id
            if reason is ValidationReason.VALID and not await uow.freshness.is_fresh(
                order_id, self._max_staleness
            ):
                raise PaymentUnavailable(f"{outage}; the local cache is stale") from outage
        _log.info(
            "code validated from local cache",
            order_id=order_id,
            reason=reason,
            outage=str(outage),
        )
        return Validation(reason, cached.record, ValidationSource.LOCAL_CACHE)
