"""Validation of a code by payment and, in an outage, by the local cache."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from interview_svc.domain.cached_code import CachedCode, ValidationReason
from interview_svc.domain.errors import CodeNotFound
from interview_svc.domain.events import ValidationSource
from interview_svc.use_cases.code_validation import (
    PaymentQueryFailed,
    PaymentUnavailable,
    PaymentUnreachable,
    Validation,
)
from interview_svc.workflows.code_validation import CodeValidation, PreviewCache
from runtime.metrics.registry import Metrics
from tests.builders.interview import code_record
from tests.fakes.clock import FakeClock

MAX_STALENESS = timedelta(seconds=30)
CODE = "code 1 1"


class LocalCache:
    """A database with one code, and with the freshness of the feed."""

    def __init__(self) -> None:
        self.cached: CachedCode | None = None
        self.fresh = True
        self.asked: list[tuple[str, timedelta]] = []
        self.cached_codes = self.freshness = self

    def cache(self, status: str = "ACTIVE", *, expires_in: timedelta = timedelta(days=1)) -> None:
        expire_at = datetime.now(UTC) + expires_in
        self.cached = CachedCode(code_record(status=status, expire_at=expire_at))

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator["LocalCache"]:
        yield self

    async def get_by_code(self, code: str, *, lock: bool) -> CachedCode | None:
        assert not lock, "a read-only transaction locks nothing"
        return self.cached if self.cached and self.cached.record.code == code else None

    async def is_fresh(self, order_id: str, max_staleness: timedelta) -> bool:
        self.asked.append((order_id, max_staleness))
        return self.fresh


class Payment:
    """payment's reply, or what its call raises."""

    def __init__(self) -> None:
        self.reply: Validation | Exception = PaymentUnreachable("payment is away")
        self.asked: list[str] = []

    async def validate(self, code: str) -> Validation:
        self.asked.append(code)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


@pytest.fixture
def local() -> LocalCache:
    return LocalCache()


@pytest.fixture
def payment() -> Payment:
    return Payment()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def codes(local: LocalCache, payment: Payment, clock: FakeClock) -> CodeValidation:
    return CodeValidation(local, payment, PreviewCache(5, clock), MAX_STALENESS, Metrics())  # type: ignore[arg-type]


def valid() -> Validation:
    return Validation(ValidationReason.VALID, code_record())


async def test_payment_decides_while_it_answers(
    codes: CodeValidation, local: LocalCache, payment: Payment
) -> None:
    """Also against the local cache."""
    local.cache("REVOKED")
    payment.reply = valid()
    assert await codes.validate(CODE) == valid()


async def test_the_local_cache_decides_in_an_outage(
    codes: CodeValidation, local: LocalCache
) -> None:
    local.cache()
    assert local.cached is not None
    assert await codes.validate(CODE) == Validation(
        ValidationReason.VALID, local.cached.record, ValidationSource.LOCAL_CACHE
    )
    assert local.asked == [("ord_1", MAX_STALENESS)]


@pytest.mark.parametrize(
    ("status", "expires_in", "reason"),
    [
        ("REVOKED", timedelta(days=1), ValidationReason.REVOKED),
        ("SUSPENDED", timedelta(days=1), ValidationReason.SUSPENDED),
        ("REDEEMED", timedelta(days=1), ValidationReason.REDEEMED),
        ("ACTIVE", timedelta(seconds=-1), ValidationReason.EXPIRED),
    ],
)
async def test_the_local_cache_refuses_a_code_however_old_it_is(
    codes: CodeValidation,
    local: LocalCache,
    status: str,
    expires_in: timedelta,
    reason: ValidationReason,
) -> None:
    local.cache(status, expires_in=expires_in)
    local.fresh = False
    assert (await codes.validate(CODE)).reason is reason


async def test_a_stale_cache_accepts_no_code(codes: CodeValidation, local: LocalCache) -> None:
    local.cache()
    local.fresh = False
    with pytest.raises(PaymentUnavailable, match="payment is away; the local cache is stale"):
        await codes.validate(CODE)


async def test_a_code_that_is_not_cached_may_exist(
    codes: CodeValidation, local: LocalCache
) -> None:
    """Its event may be on the way."""
    local.cache()
    with pytest.raises(PaymentUnavailable, match="payment is away"):
        await codes.validate("code 2 1")


@pytest.mark.parametrize("error", [CodeNotFound(), PaymentQueryFailed("INTERNAL")])
async def test_no_other_error_is_an_outage(
    codes: CodeValidation, local: LocalCache, payment: Payment, error: Exception
) -> None:
    local.cache()
    payment.reply = error
    with pytest.raises(type(error)):
        await codes.validate(CODE)
    assert local.asked == []


async def test_a_preview_by_payment_is_kept_for_a_while(
    codes: CodeValidation, payment: Payment, clock: FakeClock
) -> None:
    payment.reply = valid()
    for _ in range(2):
        assert await codes.preview(CODE) == valid()
    assert payment.asked == [CODE]
    clock.now += 6
    await codes.preview(CODE)
    assert payment.asked == [CODE, CODE]


async def test_a_preview_by_the_local_cache_is_not_kept(
    codes: CodeValidation, local: LocalCache, payment: Payment
) -> None:
    """The next call asks payment, which may be back."""
    local.cache()
    for _ in range(2):
        assert (await codes.preview(CODE)).validated_by is ValidationSource.LOCAL_CACHE
    assert payment.asked == [CODE, CODE]
