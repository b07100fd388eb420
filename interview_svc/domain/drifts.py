"""Drifts: differences between interview's data and payment's shared table of access codes."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class DriftKind(StrEnum):
    """The kinds of differences, named as in the contract, which describes them."""

    CODE_WITHOUT_SESSION = "CODE_WITHOUT_SESSION"
    STARTED_NOT_REDEEMED = "STARTED_NOT_REDEEMED"
    STALE_ENTRY = "STALE_ENTRY"
    SESSION_WITHOUT_CODE = "SESSION_WITHOUT_CODE"
    USED_WITHOUT_RIGHT = "USED_WITHOUT_RIGHT"


# These are repaired by applying payment's record. Of the others, STARTED_NOT_REDEEMED is repaired
# by repeating an event, and USED_WITHOUT_RIGHT is only reported.
REPAIRED_BY_RECORD = frozenset(
    {DriftKind.CODE_WITHOUT_SESSION, DriftKind.STALE_ENTRY, DriftKind.SESSION_WITHOUT_CODE}
)


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference. Ids that are unknown or do not exist are empty; `detail` is for people."""

    kind: DriftKind
    order_id: str
    access_code_id: str
    session_id: str
    detail: str
    # The shared table has no such code.
    code_missing: bool = False
    repaired: bool = False

    @property
    def key(self) -> tuple[DriftKind, str, str]:
        """Identifies the drift in repeated comparisons until it is repaired."""
        return self.kind, self.access_code_id, self.session_id


@dataclass(frozen=True, slots=True)
class DriftScope:
    """What is compared: some orders, and some codes in payment."""

    order_ids: Collection[str]
    access_code_ids: Collection[str] = ()
