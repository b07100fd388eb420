"""AccessCode: the right to take one interview. payment creates and changes it, nobody else.

ACTIVE → REDEEMED | EXPIRED | SUSPENDED | REVOKED. The version counts changes per order.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class AccessCodeStatus(StrEnum):
    """Where an access code stands."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


class ValidationReason(StrEnum):
    """Why a code is valid or isn't, the first that applies."""

    MALFORMED = "MALFORMED"
    NOT_FOUND = "NOT_FOUND"
    REVOKED = "REVOKED"
    SUSPENDED = "SUSPENDED"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    PRODUCT_MISMATCH = "PRODUCT_MISMATCH"
    VALID = "VALID"


class AccessCodeNotFound(LookupError):
    """There is no such access code."""


class AccessCodeNotRedeemable(Exception):
    """The code can't be redeemed as it stands."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a code: when, who, from what to what, caused by which event."""

    access_code_id: str
    version: int
    changed_at: datetime
    actor: str
    before: AccessCodeStatus | None
    after: AccessCodeStatus
    cause_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeRedeemed:
    """A code was used to start its interview. `record` is the AccessCode after the change."""

    order_id: str
    record: "AccessCode"
    cause_event_id: str
    occurred_at: datetime


@dataclass(slots=True)
class AccessCode:
    """The right to take one interview of one product, until `expire_at`."""

    id: str
    code: str
    order_id: str
    product_id: str
    expire_at: datetime
    issued_at: datetime
    status: AccessCodeStatus = AccessCodeStatus.ACTIVE
    version: int = 1
    redeemed_session_id: str = ""
    redeemed_at: datetime | None = None
    events: list[AccessCodeRedeemed] = field(default_factory=list, compare=False)
    audit: list[AuditEntry] = field(default_factory=list, compare=False)

    def record_issue(self) -> None:
        """Notes in the audit that payment issued it."""
        self.audit.append(
            AuditEntry(self.id, self.version, self.issued_at, "payment", None, self.status, "")
        )

    def validate(self, product_id: str, now: datetime) -> ValidationReason:
        """Whether it may start an interview of `product_id` ("" for any) at `now`."""
        if self.status is not AccessCodeStatus.ACTIVE:
            return ValidationReason(self.status)
        if now >= self.expire_at:
            return ValidationReason.EXPIRED
        if product_id and product_id != self.product_id:
            return ValidationReason.PRODUCT_MISMATCH
        return ValidationReason.VALID

    def redeem(
        self, session_id: str, started_at: datetime, cause_event_id: str, now: datetime
    ) -> None:
        """The code's interview has started. Again for the same session, it changes nothing.

        Raises AccessCodeNotRedeemable.
        """
        if self.redeemed_session_id == session_id:
            return
        if self.status is not AccessCodeStatus.ACTIVE or started_at >= self.expire_at:
            raise AccessCodeNotRedeemable(
                f"code {self.id} is {self.status} until {self.expire_at.isoformat()},"
                f" session {session_id} started at {started_at.isoformat()}"
            )
        before, self.status = self.status, AccessCodeStatus.REDEEMED
        self.redeemed_session_id, self.redeemed_at = session_id, started_at
        self.version += 1
        self.audit.append(
            AuditEntry(self.id, self.version, now, "interview", before, self.status, cause_event_id)
        )
        record = replace(self, events=[], audit=[])
        self.events.append(
            AccessCodeRedeemed(
                order_id=self.order_id,
                record=record,
                cause_event_id=cause_event_id,
                occurred_at=now,
            )
        )
