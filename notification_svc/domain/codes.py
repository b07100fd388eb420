"""What notification knows of access codes: the newest that payment said of each order's."""

from dataclasses import dataclass
from enum import StrEnum


class CodeStatus(StrEnum):
    """Where an access code stands; see payment's contract."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """One state of an order's code; of two, the higher version is newer."""

    order_id: str
    version: int
    status: CodeStatus
    access_code_id: str

    @property
    def is_active(self) -> bool:
        """Whether the order's code may start an interview."""
        return self.status is CodeStatus.ACTIVE

    def says_good(self, access_code_id: str) -> bool:
        """Whether it says that this very code may start an interview."""
        return self.is_active and self.access_code_id == access_code_id
