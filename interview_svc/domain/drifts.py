"""Drifts: where interview's half and payment's shared table of codes tell different things."""

from dataclasses import dataclass
from enum import StrEnum


class DriftKind(StrEnum):
    """How the halves differ."""

    CODE_WITHOUT_SESSION = "CODE_WITHOUT_SESSION"
    STARTED_NOT_REDEEMED = "STARTED_NOT_REDEEMED"
    STALE_ENTRY = "STALE_ENTRY"
    SESSION_WITHOUT_CODE = "SESSION_WITHOUT_CODE"
    USED_WITHOUT_RIGHT = "USED_WITHOUT_RIGHT"


# What payment's record mends. The others are mended by a fact announced again, or not at all.
MENDED_BY_RECORD = frozenset(
    {DriftKind.CODE_WITHOUT_SESSION, DriftKind.STALE_ENTRY, DriftKind.SESSION_WITHOUT_CODE}
)


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference. What isn't known or doesn't exist is empty; `detail` is for people."""

    kind: DriftKind
    order_id: str
    access_code_id: str
    session_id: str
    detail: str
    # The shared table has no such code.
    code_missing: bool = False
    repaired: bool = False

    @property
    def about(self) -> tuple[DriftKind, str, str]:
        """What it is about: the same as long as it isn't mended."""
        return self.kind, self.access_code_id, self.session_id
