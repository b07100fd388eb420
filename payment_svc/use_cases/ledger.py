"""The ledger check. For each order, captured less refunded money equals its backing plus owed.

Backing is the part of the price of a paid order that was not refunded; owed is surplus money that
was not refunded yet.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_IMBALANCES = 100


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The amounts of one order, or their sums over several; in the currency's minor unit."""

    order_id: str
    currency_code: str
    captured_minor: int
    refunded_minor: int
    backing_minor: int
    owed_minor: int


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """How many orders were checked, those that do not balance, and the totals by currency."""

    checked_count: int
    imbalances: Sequence[LedgerEntry]
    totals: Sequence[LedgerEntry]


class Ledger(Protocol):
    """The money of all orders at one moment."""

    async def check(self, order_ids: Collection[str] | None, limit: int) -> LedgerReport:
        """Checks these orders, or all (None); reports up to `limit` imbalances."""
