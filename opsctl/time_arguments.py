"""Times as arguments: a duration such as `15m`, `2h`, `7d`, or a moment in ISO 8601."""

import re
from datetime import UTC, datetime, timedelta

import typer

_AGE = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """A positive duration; raises typer.BadParameter."""
    duration = _AGE.fullmatch(text.strip())
    if not duration or not int(duration[1]):
        raise typer.BadParameter(f"{text!r} is no duration such as 15m, 2h, 7d")
    return timedelta(**{_UNITS[duration[2]]: int(duration[1])})


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """The moment; one without a zone is UTC. Raises typer.BadParameter."""
    if age := _AGE.fullmatch(text.strip()):
        now = now or datetime.now(UTC)
        try:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        except OverflowError:
            raise typer.BadParameter(f"{text} is before the year 1") from None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a time such as 2026-01-31T12:00Z nor an age such as 15m, 2h, 7d"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
