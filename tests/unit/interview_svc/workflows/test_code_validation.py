"""The preview cache: replies expire, and an event about their order invalidates them."""

from datetime import timedelta

import pytest

from interview_svc.domain.cached_code import ValidationReason
from interview_svc.use_cases.code_validation import Validation
from interview_svc.workflows.code_validation import PreviewCache
from tests.builders.interview import EXPIRE_AT, code_record
from tests.fakes.clock import FakeClock

TTL_SECONDS = 5.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def previews(clock: FakeClock) -> PreviewCache:
    return PreviewCache(TTL_SECONDS, clock)


def validation(order: int = 1, code: int = 1) -> Validation:
    return Validation(ValidationReason.VALID, code_record(order=order, code=code))


def test_a_reply_is_cached_for_its_time_to_live(previews: PreviewCache, clock: FakeClock) -> None:
    previews.put(validation(), previews.now())
    clock.now += TTL_SECONDS - 0.1
    assert previews.get("code 1 1") == validation()
    assert previews.get("code 2 1") is None
    clock.now += 0.2
    assert previews.get("code 1 1") is None


def test_an_event_invalidates_the_replies_about_its_order_only(
    previews: PreviewCache, clock: FakeClock
) -> None:
    """Also about a code that another one has replaced: it belongs to the order too."""
    for reply in (validation(1, code=1), validation(1, code=2), validation(2)):
        previews.put(reply, previews.now())
    clock.now += 1
    previews.invalidate(["ord_1"])
    assert previews.get("code 1 1") is None
    assert previews.get("code 1 2") is None
    assert previews.get("code 2 1") is not None


def test_a_reply_to_a_query_from_before_an_event_is_not_returned(
    previews: PreviewCache, clock: FakeClock
) -> None:
    """Such a reply can be stored after the event was handled."""
    queried_at = previews.now()
    clock.now += 0.1
    previews.invalidate(["ord_1"])
    clock.now += 0.1
    previews.put(validation(), queried_at)
    assert previews.get("code 1 1") is None
    previews.put(validation(), previews.now())
    assert previews.get("code 1 1") == validation()


def test_a_cached_reply_takes_the_expiry_of_the_code_into_account() -> None:
    valid = validation()
    assert valid.reason_at(EXPIRE_AT - timedelta(seconds=1)) is ValidationReason.VALID
    assert valid.reason_at(EXPIRE_AT) is ValidationReason.EXPIRED
