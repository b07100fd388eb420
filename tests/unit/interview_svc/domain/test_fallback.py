"""Whether the fallback is available, since when not, and why."""

from datetime import timedelta

import pytest

from interview_svc.domain.fallback import CacheFacts, FallbackStatus
from tests.builders.interview import NOW

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def status(**facts: object) -> FallbackStatus:
    known = {
        "covered_as_of": NOW,
        "unassigned_dead_letters": 0,
        "unassigned_since": None,
        "stale_orders": 0,
        **facts,
    }
    return FallbackStatus.of(CacheFacts(**known), HOUR, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("age", [timedelta(), HOUR, -HOUR])
def test_it_is_available_while_the_cache_is_fresh(age: timedelta) -> None:
    found = status(covered_as_of=NOW - age, stale_orders=3)
    assert (found.available, found.reason, found.unavailable_since) == (True, "", None)


def test_it_ends_when_the_cache_becomes_stale() -> None:
    found = status(covered_as_of=NOW - HOUR - MINUTE)
    assert not found.available
    assert found.unavailable_since == NOW - MINUTE
    assert "2026-01-02 10:59:00Z" in found.reason


def test_it_ends_with_the_first_dead_letter_that_names_no_order() -> None:
    found = status(unassigned_dead_letters=2, unassigned_since=NOW - MINUTE)
    assert not found.available
    assert found.unavailable_since == NOW - MINUTE
    assert found.reason == "open dead letters that name no order: 2"


def test_of_two_causes_the_earlier_one_counts() -> None:
    found = status(
        covered_as_of=NOW - 2 * HOUR, unassigned_dead_letters=1, unassigned_since=NOW - MINUTE
    )
    assert found.unavailable_since == NOW - HOUR
    assert "; " in found.reason


def test_a_cache_that_was_never_complete_has_no_time() -> None:
    found = status(covered_as_of=None, unassigned_dead_letters=1, unassigned_since=NOW)
    assert (found.available, found.unavailable_since) == (False, None)
