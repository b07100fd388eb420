"""The clock of the process."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present time, UTC-aware."""
    return datetime.now(UTC)
