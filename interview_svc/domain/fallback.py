"""FallbackStatus: whether the local cache can accept codes while payment is unavailable."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What decides whether the local cache is reliable.

    Before `covered_as_of` every event that payment committed is handled; None if no such time is
    known. An unassigned dead letter may concern any order; `unassigned_since` is the time of the
    oldest. `stale_orders` have open dead letters of their own.
    """

    covered_as_of: datetime | None
    unassigned_dead_letters: int
    unassigned_since: datetime | None
    stale_orders: int


@dataclass(frozen=True, slots=True)
class FallbackStatus:
    """`reason` is for people, "" if the fallback is available.

    `unavailable_since` is None while it is available, and if it has never been.
    """

    facts: CacheFacts
    reason: str
    unavailable_since: datetime | None

    @property
    def available(self) -> bool:
        """Whether the local cache can accept codes, those of stale orders excepted."""
        return not self.reason

    @classmethod
    def of(cls, facts: CacheFacts, max_staleness: timedelta, now: datetime) -> "FallbackStatus":
        """The status at a moment of the clock that dates `facts`."""
        reasons = list[str]()
        since = list[datetime]()
        if facts.covered_as_of is None:
            reasons.append("payment's events have never been handled completely")
        elif now - facts.covered_as_of > max_staleness:
            reasons.append(
                f"payment's events are handled up to {facts.covered_as_of:%Y-%m-%d %H:%M:%S}Z only"
            )
            since.append(facts.covered_as_of + max_staleness)
        if facts.unassigned_since is not None:
            reasons.append(f"open dead letters that name no order: {facts.unassigned_dead_letters}")
            since.append(facts.unassigned_since)
        known = bool(since) and facts.covered_as_of is not None
        return cls(facts, "; ".join(reasons), min(since) if known else None)
