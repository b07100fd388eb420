"""The states of an access code."""

from enum import StrEnum


class AccessCodeStatus(StrEnum):
    """The status that is stored; `AccessCode.effective_status` also considers the clock."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


class Hold(StrEnum):
    """Why a code is SUSPENDED. Operators and refunds each lift only their own hold."""

    OPERATOR = "OPERATOR"
    REFUND = "REFUND"
