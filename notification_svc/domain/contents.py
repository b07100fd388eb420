"""What mails tell, one kind of content each."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from notification_svc.domain.codes import CodeVersion
from shared_model.currencies import decimals_of


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency's minor unit."""

    amount_minor: int
    currency_code: str

    def __str__(self) -> str:
        """As people write it: `CNY 1,234.50`."""
        places = decimals_of(self.currency_code)
        whole, part = divmod(self.amount_minor, 10**places)
        fraction = f".{part:0{places}d}" if places else ""
        return f"{self.currency_code} {whole:,}{fraction}"


@dataclass(frozen=True, slots=True)
class AccessCodeContent:
    """An access code, what it opens and until when, as of a version of its record."""

    access_code_id: str
    access_code: str
    version: int
    product_id: str
    expire_at: datetime

    def is_outdated(self, newest: CodeVersion | None) -> bool:
        """Whether payment has said something newer of the order's code."""
        return newest is not None and self.version < newest.version

    def as_of(self, newest: CodeVersion | None) -> "AccessCodeContent":
        """The same code under the newest version, if that says that it is good; else unchanged."""
        if newest is None or not newest.says_good(self.access_code_id):
            return self
        return replace(self, version=max(self.version, newest.version))


class RefundScope(StrEnum):
    """What was paid back."""

    FULL = "FULL"
    PARTIAL = "PARTIAL"
    # Money that never backed the order.
    SURPLUS = "SURPLUS"


@dataclass(frozen=True, slots=True)
class RefundContent:
    """Money that went back to the customer."""

    refund_id: str
    amount: Money
    scope: RefundScope


class CancelReason(StrEnum):
    """Why a session was called off. One of a refunded order is the refund's mail's to tell."""

    ACCESS_CODE_REVOKED = "ACCESS_CODE_REVOKED"
    USE_REJECTED = "USE_REJECTED"
    REQUESTED = "REQUESTED"


@dataclass(frozen=True, slots=True)
class SessionCancelledContent:
    """A session that was called off."""

    session_id: str
    product_id: str
    reason: CancelReason
    was_started: bool


@dataclass(frozen=True, slots=True)
class FeedbackContent:
    """Feedback that can be read. No order depends on the mail, so it may be declined."""

    session_id: str
    feedback_id: str
    product_id: str


Content = AccessCodeContent | RefundContent | SessionCancelledContent | FeedbackContent
