"""Points in the past as a person types them: `15m`, `2h`, `7d`, or a time of ISO 8601."""

import re
from datetime import UTC, datetime, timedelta

import typer
from google.protobuf.timestamp_pb2 import Timestamp

_AGO = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """The moment; one without a zone is UTC. Raises typer.BadParameter."""
    if ago := _AGO.fullmatch(text.strip()):
        now = now or datetime.now(UTC)
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise typer.BadParameter(f"{text} is before all time") from None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a time such as 2026-01-31T12:00Z nor an age such as 15m, 2h, 7d"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_timestamp(moment: datetime) -> Timestamp:
    """A moment as the contracts have it."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
