"""The newest known version of each order's access code."""

from dataclasses import dataclass
from enum import StrEnum


class CodeStatus(StrEnum):
    """The status of an access code; see payment's contract."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """One version of an order's code; the higher version is newer."""

    order_id: str
    version: int
    status: CodeStatus
    access_code_id: str

    @property
    def is_active(self) -> bool:
        """Whether the order's code may start an interview."""
        return self.status is CodeStatus.ACTIVE

    def allows(self, access_code_id: str) -> bool:
        """Whether this version allows this code to start an interview."""
        return self.is_active and self.access_code_id == access_code_id
