"""AccessCode: the right to take one interview. Only payment creates and changes it.

ACTIVE → REDEEMED | EXPIRED | SUSPENDED | REVOKED; SUSPENDED → ACTIVE | REDEEMED | EXPIRED |
REVOKED; EXPIRED → REDEEMED by a start that happened in time. A SUSPENDED code has at least one
hold; it is SUSPENDED until the last hold is lifted. The version counts all changes of an order's
codes and continues across a reissue.
"""

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum

from payment_svc.domain.access_code_errors import (
    AccessCodeNotExpirable,
    AccessCodeNotRedeemable,
    AccessCodeNotReinstatable,
    AccessCodeNotReissuable,
    AccessCodeNotRevocable,
    AccessCodeNotSuspendable,
    AccessCodeUsed,
    IllegalAccessCodeTransition,
)
from payment_svc.domain.access_code_events import (
    AccessCodeEvent,
    AccessCodeExpired,
    AccessCodeRedeemed,
    AccessCodeReinstated,
    AccessCodeReissued,
    AccessCodeRevoked,
    AccessCodeSnapshot,
    AccessCodeSuspended,
    AccessCodeUseRejected,
    AuditEntry,
)
from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.recipient import Recipient


class ValidationReason(StrEnum):
    """Why a code is valid or not: the first reason that applies."""

    MALFORMED = "MALFORMED"
    NOT_FOUND = "NOT_FOUND"
    REVOKED = "REVOKED"
    SUSPENDED = "SUSPENDED"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    PRODUCT_MISMATCH = "PRODUCT_MISMATCH"
    VALID = "VALID"


@dataclass(frozen=True, slots=True)
class Cause:
    """Who changes a code, why, and the event that caused it, for the audit."""

    actor: str
    reason: str = ""
    event_id: str = ""


BY_PAYMENT = Cause("payment")
_LIVE = frozenset({AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED})
_NO_HOLDS: frozenset[Hold] = frozenset()


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
    holds: frozenset[Hold] = _NO_HOLDS
    replaced_by: str = ""
    events: list[AccessCodeEvent] = field(default_factory=list, compare=False)
    audit: list[AuditEntry] = field(default_factory=list, compare=False)

    def record_issue(self, cause: Cause = BY_PAYMENT) -> None:
        """Adds the audit entry of the issue."""
        self._add_audit_entry(None, cause, self.issued_at)

    def snapshot(self) -> AccessCodeSnapshot:
        """The present state, for an event."""
        names = (field.name for field in fields(AccessCodeSnapshot))
        return AccessCodeSnapshot(**{name: getattr(self, name) for name in names})

    def effective_status(self, now: datetime) -> AccessCodeStatus:
        """The status at `now`: EXPIRED from `expire_at` on, even if `expire` runs later."""
        expired = self.status in _LIVE and now >= self.expire_at
        return AccessCodeStatus.EXPIRED if expired else self.status

    def validate(self, product_id: str, now: datetime) -> ValidationReason:
        """Whether an interview of `product_id` ("" for any) may be started at `now`."""
        if self.status is not AccessCodeStatus.ACTIVE:
            return ValidationReason(self.status)
        if now >= self.expire_at:
            return ValidationReason.EXPIRED
        if product_id and product_id != self.product_id:
            return ValidationReason.PRODUCT_MISMATCH
        return ValidationReason.VALID

    def is_redeemed_by(self, session_id: str) -> bool:
        """Whether a session's start redeemed the code."""
        return self.status is AccessCodeStatus.REDEEMED and self.redeemed_session_id == session_id

    def redeem(
        self, session_id: str, started_at: datetime, cause_event_id: str, now: datetime
    ) -> None:
        """Records that the interview has started: the code is REDEEMED, or the use is rejected.

        A suspension prevents starts but never undoes one. A start before `expire_at` counts even
        if its event arrives later. A repeat for the same session changes nothing. Raises
        AccessCodeNotRedeemable if another session redeemed the code.
        """
        if self.status is AccessCodeStatus.REDEEMED:
            if self.redeemed_session_id != session_id:
                raise self._error(AccessCodeNotRedeemable, now)
            return
        cause = Cause("interview", event_id=cause_event_id)
        if self.status is AccessCodeStatus.REVOKED:
            self._reject_use(session_id, cause_event_id, now)
        elif started_at >= self.expire_at:
            if self.status is not AccessCodeStatus.EXPIRED:
                self._change(AccessCodeStatus.EXPIRED, cause, now)
            self._reject_use(session_id, cause_event_id, now)
        else:
            self.redeemed_session_id, self.redeemed_at = session_id, started_at
            self._change(AccessCodeStatus.REDEEMED, cause, now)
            self.events.append(
                AccessCodeRedeemed(
                    record=self.snapshot(), occurred_at=now, cause_event_id=cause_event_id
                )
            )

    def expire(self, now: datetime) -> None:
        """Sets EXPIRED once `expire_at` has passed; raises AccessCodeNotExpirable."""
        if self.status not in _LIVE or now < self.expire_at:
            raise self._error(AccessCodeNotExpirable, now)
        self._change(AccessCodeStatus.EXPIRED, BY_PAYMENT, now)
        self.events.append(AccessCodeExpired(record=self.snapshot(), occurred_at=now))

    def suspend(self, cause: Cause, now: datetime) -> None:
        """Adds the operators' hold; raises AccessCodeNotSuspendable."""
        if self.effective_status(now) not in _LIVE or Hold.OPERATOR in self.holds:
            raise self._error(AccessCodeNotSuspendable, now)
        self._change(AccessCodeStatus.SUSPENDED, cause, now, self.holds | {Hold.OPERATOR})
        self.events.append(
            AccessCodeSuspended(record=self.snapshot(), occurred_at=now, reason=cause.reason)
        )

    def reinstate(
        self, cause: Cause, customer_id: str, recipient: Recipient, now: datetime
    ) -> None:
        """Lifts the operators' hold of an unexpired code; raises AccessCodeNotReinstatable."""
        if self.effective_status(now) not in _LIVE or Hold.OPERATOR not in self.holds:
            raise self._error(AccessCodeNotReinstatable, now)
        self._lift(Hold.OPERATOR, cause, now)
        self.events.append(
            AccessCodeReinstated(
                record=self.snapshot(),
                occurred_at=now,
                reason=cause.reason,
                customer_id=customer_id,
                recipient=recipient,
            )
        )

    def revoke(self, cause: Cause, now: datetime) -> None:
        """Invalidates the code permanently; raises AccessCodeNotRevocable."""
        if self.effective_status(now) not in _LIVE:
            raise self._error(AccessCodeNotRevocable, now)
        self._change(AccessCodeStatus.REVOKED, cause, now)
        self.events.append(
            AccessCodeRevoked(record=self.snapshot(), occurred_at=now, reason=cause.reason)
        )

    def reissue(
        self,
        new_id: str,
        new_code: str,
        cause: Cause,
        customer_id: str,
        recipient: Recipient,
        now: datetime,
    ) -> "AccessCode":
        """Revokes the code and returns its replacement; raises AccessCodeNotReissuable."""
        if self.effective_status(now) is not AccessCodeStatus.ACTIVE:
            raise self._error(AccessCodeNotReissuable, now)
        self.replaced_by = new_id
        self._change(AccessCodeStatus.REVOKED, cause, now)
        issued = AccessCode(
            id=new_id,
            code=new_code,
            order_id=self.order_id,
            product_id=self.product_id,
            expire_at=self.expire_at,
            issued_at=now,
            version=self.version + 1,
        )
        issued.record_issue(cause)
        issued.events.append(
            AccessCodeReissued(
                record=issued.snapshot(),
                occurred_at=now,
                replaced_id=self.id,
                reason=cause.reason,
                customer_id=customer_id,
                recipient=recipient,
            )
        )
        return issued

    def hold_for_refund(self, cause: Cause, now: datetime) -> None:
        """Adds a full refund's hold to a live code, so that it starts no interview meanwhile.

        The version is incremented even if the code is already invalid. Raises AccessCodeUsed.
        """
        if self.status is AccessCodeStatus.REDEEMED:
            raise self._error(AccessCodeUsed, now)
        if self.status in _LIVE:
            self._change(AccessCodeStatus.SUSPENDED, cause, now, self.holds | {Hold.REFUND})
        else:
            self._change(self.status, cause, now)

    def lift_refund_hold(self, cause: Cause, now: datetime) -> None:
        """Lifts the hold of a refund that was rejected or failed; nothing changes without one."""
        if Hold.REFUND in self.holds:
            self._lift(Hold.REFUND, cause, now)

    def revoke_for_refund(self, cause: Cause, now: datetime) -> None:
        """Revokes a live code whose price was refunded; another one keeps its status."""
        live = self.status in _LIVE
        self._change(AccessCodeStatus.REVOKED if live else self.status, cause, now)

    def _lift(self, hold: Hold, cause: Cause, now: datetime) -> None:
        if remaining := self.holds - {hold}:
            self._change(AccessCodeStatus.SUSPENDED, cause, now, remaining)
        elif now >= self.expire_at:
            self._change(AccessCodeStatus.EXPIRED, cause, now)
        else:
            self._change(AccessCodeStatus.ACTIVE, cause, now)

    def _reject_use(self, session_id: str, cause_event_id: str, now: datetime) -> None:
        self.events.append(
            AccessCodeUseRejected(
                record=self.snapshot(),
                occurred_at=now,
                session_id=session_id,
                judged_as=self.status,
                cause_event_id=cause_event_id,
            )
        )

    def _change(
        self,
        after: AccessCodeStatus,
        cause: Cause,
        now: datetime,
        holds: frozenset[Hold] = _NO_HOLDS,
    ) -> None:
        before, self.status, self.holds = self.status, after, holds
        self.version += 1
        self._add_audit_entry(before, cause, now)

    def _add_audit_entry(
        self, before: AccessCodeStatus | None, cause: Cause, now: datetime
    ) -> None:
        self.audit.append(
            AuditEntry(
                access_code_id=self.id,
                version=self.version,
                changed_at=now,
                actor=cause.actor,
                before=before,
                after=self.status,
                cause_event_id=cause.event_id,
                reason=cause.reason,
            )
        )

    def _error(
        self, kind: type[IllegalAccessCodeTransition], now: datetime
    ) -> IllegalAccessCodeTransition:
        return kind(self.id, self.effective_status(now), self.holds)
