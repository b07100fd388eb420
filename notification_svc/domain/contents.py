"""The contents of mails: one class per kind."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from notification_svc.domain.codes import CodeVersion


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of an ISO 4217 currency."""

    amount_minor: int
    currency_code: str


@dataclass(frozen=True, slots=True)
class AccessCodeContent:
    """An access code, its product and expiry, as of one version of its record."""

    access_code_id: str
    access_code: str
    version: int
    product_id: str
    expire_at: datetime

    def is_outdated(self, newest: CodeVersion | None) -> bool:
        """Whether a newer version of the order's code is known."""
        return newest is not None and self.version < newest.version

    def as_of(self, newest: CodeVersion | None) -> "AccessCodeContent":
        """The same code with the newest version, if that allows its use; else unchanged."""
        if newest is None or not newest.allows(self.access_code_id):
            return self
        return replace(self, version=max(self.version, newest.version))


class RefundScope(StrEnum):
    """The scope of a refund."""

    FULL = "FULL"
    PARTIAL = "PARTIAL"
    # Money that did not pay for the order.
    SURPLUS = "SURPLUS"


@dataclass(frozen=True, slots=True)
class RefundContent:
    """A completed refund."""

    refund_id: str
    amount: Money
    scope: RefundScope


class CancelReason(StrEnum):
    """Why a session was cancelled. After a refund the mail about the refund covers it."""

    ACCESS_CODE_REVOKED = "ACCESS_CODE_REVOKED"
    USE_REJECTED = "USE_REJECTED"
    REQUESTED = "REQUESTED"


@dataclass(frozen=True, slots=True)
class SessionCancelledContent:
    """A cancelled session."""

    session_id: str
    product_id: str
    reason: CancelReason
    was_started: bool


@dataclass(frozen=True, slots=True)
class FeedbackContent:
    """Published feedback. Customers may decline this mail."""

    session_id: str
    feedback_id: str
    product_id: str


Content = AccessCodeContent | RefundContent | SessionCancelledContent | FeedbackContent
