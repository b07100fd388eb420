"""Moments in the past, and durations, as operators type them."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from opsctl.time_arguments import parse_duration, parse_since

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("15m", NOW - timedelta(minutes=15)),
        (" 2 h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T10:00Z", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2026-05-01 10:00:30+08:00", datetime(2026, 5, 1, 2, 0, 30, tzinfo=UTC)),
    ],
)
def test_ages_and_iso_8601_times_are_parsed(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "15", "m", "-5m", "15 minutes", "999999d", "yesterday"])
def test_any_other_text_is_rejected(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("text", "duration"),
    [("15m", timedelta(minutes=15)), (" 8 h", timedelta(hours=8)), ("1d", timedelta(days=1))],
)
def test_durations_are_parsed(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "0h", "-5m", "15", "2026-05-01"])
def test_what_is_no_duration_is_rejected(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)
