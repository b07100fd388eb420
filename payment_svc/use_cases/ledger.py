"""Whether money is where it belongs: captured less refunded is what backs the order or is owed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MOST_IMBALANCES = 100


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """How the money of one order stands, or of several together; in the minor unit."""

    order_id: str
    currency_code: str
    captured_minor: int
    refunded_minor: int
    backing_minor: int
    owed_minor: int


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """How many orders were checked, which don't balance, and what they come to by currency."""

    checked_count: int
    imbalances: Sequence[LedgerEntry]
    totals: Sequence[LedgerEntry]


class Ledger(Protocol):
    """What the tables say of money, at one moment."""

    async def check(self, order_id: str, most: int) -> LedgerReport:
        """Of one order, or of all (""); with so many imbalances at most."""
