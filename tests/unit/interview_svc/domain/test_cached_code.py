"""CachedCode: which updates it applies, and what it decides about a start."""

from dataclasses import replace
from datetime import timedelta

import pytest

from interview_svc.domain.cached_code import (
    CachedCode,
    CodeStatus,
    CodeUpdate,
    ValidationReason,
    check_valid,
)
from interview_svc.domain.errors import (
    CodeExpired,
    CodeNotStartable,
    CodeRedeemed,
    CodeRevoked,
    CodeSuspended,
)
from tests.builders.interview import EXPIRE_AT, HOLDER, NOW, code_record

INSTANT = timedelta(microseconds=1)
RECORD = code_record(3)
ERRORS = {
    ValidationReason.REVOKED: CodeRevoked,
    ValidationReason.SUSPENDED: CodeSuspended,
    ValidationReason.REDEEMED: CodeRedeemed,
    ValidationReason.EXPIRED: CodeExpired,
}


@pytest.mark.parametrize("version", [4, 5, 1000])
def test_a_newer_record_is_applied_also_after_a_gap(version: int) -> None:
    cached, newer = CachedCode(RECORD), code_record(version, "REVOKED")
    assert cached.apply(CodeUpdate(newer, refunded=True)) is True
    assert (cached.record, cached.refunded) == (newer, True)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_an_older_record_or_the_same_version_is_not_applied(version: int) -> None:
    cached = CachedCode(RECORD)
    older = code_record(version, "REVOKED")
    assert cached.apply(CodeUpdate(older, refunded=True)) is False
    assert cached == CachedCode(RECORD)


def test_an_older_update_still_adds_the_holder_once() -> None:
    cached = CachedCode(RECORD)
    assert cached.apply(CodeUpdate(code_record(1), HOLDER)) is True
    assert cached == CachedCode(RECORD, HOLDER)
    assert cached.apply(CodeUpdate(code_record(1), replace(HOLDER, email="x"))) is False
    assert cached.holder == HOLDER


@pytest.mark.parametrize(
    ("version", "queried_version", "applied"),
    [
        (2, 2, False),
        (3, 2, True),
        (4, 2, True),
        # The cached version did not change since before the query: the cache is ahead of payment.
        (2, 3, True),
    ],
)
def test_a_reply_of_payment_corrects_a_cached_code_that_is_not_newer_than_the_query(
    version: int, queried_version: int, applied: bool
) -> None:
    cached = CachedCode(RECORD)
    reply = code_record(version, "REVOKED")
    assert cached.correct(CodeUpdate(reply), queried_version) is applied
    assert (cached.record == reply) is applied
    assert cached.correct(CodeUpdate(reply), queried_version) is False


def test_an_active_code_can_start_a_session_until_it_expires() -> None:
    CachedCode(RECORD).check_startable(EXPIRE_AT - INSTANT)
    with pytest.raises(CodeExpired):
        CachedCode(RECORD).check_startable(EXPIRE_AT)


@pytest.mark.parametrize("status", sorted(set(CodeStatus) - {CodeStatus.ACTIVE}))
def test_a_code_that_is_not_active_cannot_start_a_session(status: CodeStatus) -> None:
    cached = CachedCode(code_record(3, status))
    assert cached.prevents_start
    with pytest.raises(ERRORS[ValidationReason(status)]):
        cached.check_startable(NOW)


def test_an_active_code_prevents_no_start() -> None:
    assert not CachedCode(RECORD).prevents_start


def test_the_status_takes_precedence_over_the_expiry() -> None:
    with pytest.raises(CodeRevoked):
        CachedCode(code_record(3, "REVOKED")).check_startable(EXPIRE_AT)


@pytest.mark.parametrize("reason", ERRORS)
def test_each_reason_has_its_error_which_names_the_field_and_no_id(
    reason: ValidationReason,
) -> None:
    with pytest.raises(CodeNotStartable) as caught:
        check_valid(reason)
    assert type(caught.value) is ERRORS[reason]
    assert caught.value.subject == "access_code"


def test_a_valid_code_raises_no_error() -> None:
    check_valid(ValidationReason.VALID)
