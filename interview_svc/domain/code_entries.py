"""CodeEntry: interview's own copy of what payment announced about an order's access code.

A table, not process memory: replicas share a consumer, and each event reaches one of them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CodeStatus(StrEnum):
    """Where payment said that a code stands."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


class CodeNotStartable(Exception):
    """The code is known and may not start its interview."""

    subject = "access_code"


class CodeRevoked(CodeNotStartable):
    """The access code was withdrawn for good."""


class CodeSuspended(CodeNotStartable):
    """The access code is held back for the time being."""


class CodeRedeemed(CodeNotStartable):
    """The access code was used: its interview has started."""


class CodeExpired(CodeNotStartable):
    """The access code has expired."""


_REFUSALS: dict[CodeStatus, type[CodeNotStartable]] = {
    CodeStatus.REVOKED: CodeRevoked,
    CodeStatus.SUSPENDED: CodeSuspended,
    CodeStatus.REDEEMED: CodeRedeemed,
    CodeStatus.EXPIRED: CodeExpired,
}


def refuse(status: CodeStatus) -> CodeNotStartable:
    """The error for a code that stands so."""
    return _REFUSALS[status]()


class CodeNotFound(LookupError):
    """There is no such access code."""


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """A code's record as an event carried it. The version counts changes per order."""

    order_id: str
    access_code_id: str
    code: str
    status: CodeStatus
    expire_at: datetime
    version: int
    product_id: str


@dataclass(slots=True)
class CodeEntry:
    """The newest record known of an order's code."""

    record: CodeRecord

    def apply(self, record: CodeRecord) -> bool:
        """Takes a record if it is newer; False if it isn't. Gaps in versions are normal."""
        if record.version <= self.record.version:
            return False
        self.record = record
        return True

    def check_startable(self, now: datetime) -> None:
        """Raises a CodeNotStartable unless ACTIVE and not expired at `now`."""
        if self.record.status is not CodeStatus.ACTIVE:
            raise refuse(self.record.status)
        if now >= self.record.expire_at:
            raise CodeExpired
