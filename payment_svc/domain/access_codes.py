"""AccessCode: the right to take one interview. payment creates and changes it, nobody else.

ACTIVE → REDEEMED | EXPIRED | SUSPENDED | REVOKED; SUSPENDED → ACTIVE | REDEEMED | EXPIRED |
REVOKED; EXPIRED → REDEEMED by a start that was in time. SUSPENDED carries holds and ends with the
last of them. The version counts the changes to an order's codes, across a reissue.
"""

from dataclasses import dataclass, field, replace
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
)
from payment_svc.domain.access_code_events import (
    AccessCodeEvent,
    AccessCodeExpired,
    AccessCodeRedeemed,
    AccessCodeReinstated,
    AccessCodeReissued,
    AccessCodeRevoked,
    AccessCodeSuspended,
    AccessCodeUseRejected,
    AuditEntry,
    Holder,
)


class AccessCodeStatus(StrEnum):
    """Where an access code stands."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


class Hold(StrEnum):
    """Why a code is SUSPENDED. Each side lifts only its own."""

    OPERATOR = "OPERATOR"
    REFUND = "REFUND"


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


@dataclass(frozen=True, slots=True)
class Cause:
    """Who changes a code and why, and the event that made them, for the audit."""

    actor: str
    reason: str = ""
    event_id: str = ""


CLOCK = Cause("payment")
_LIVE = frozenset({AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED})
_NOTHING: frozenset[Hold] = frozenset()


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
    holds: frozenset[Hold] = _NOTHING
    replaced_by: str = ""
    events: list[AccessCodeEvent] = field(default_factory=list, compare=False)
    audit: list[AuditEntry] = field(default_factory=list, compare=False)

    def record_issue(self, cause: Cause = CLOCK) -> None:
        """Notes in the audit that it was issued."""
        self._note(None, cause, self.issued_at)

    def record(self) -> "AccessCode":
        """A copy as it stands, for an announcement."""
        return replace(self, events=[], audit=[])

    def standing(self, now: datetime) -> AccessCodeStatus:
        """Its status by the clock: a late sweeper changes nothing."""
        lapsed = self.status in _LIVE and now >= self.expire_at
        return AccessCodeStatus.EXPIRED if lapsed else self.status

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
        """The code's interview has started: REDEEMED, or the use is rejected.

        A suspension blocks starts and never undoes one; a start in time counts, however late it is
        heard of. Again for the same session, a REDEEMED code doesn't change. Raises
        AccessCodeNotRedeemable if another session redeemed it.
        """
        if self.status is AccessCodeStatus.REDEEMED:
            if self.redeemed_session_id != session_id:
                raise AccessCodeNotRedeemable(self, now)
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
                    record=self.record(), occurred_at=now, cause_event_id=cause_event_id
                )
            )

    def expire(self, now: datetime) -> None:
        """Its time is over; raises AccessCodeNotExpirable."""
        if self.status not in _LIVE or now < self.expire_at:
            raise AccessCodeNotExpirable(self, now)
        self._change(AccessCodeStatus.EXPIRED, CLOCK, now)
        self.events.append(AccessCodeExpired(record=self.record(), occurred_at=now))

    def suspend(self, cause: Cause, now: datetime) -> None:
        """An operator holds it back; raises AccessCodeNotSuspendable."""
        if self.standing(now) not in _LIVE or Hold.OPERATOR in self.holds:
            raise AccessCodeNotSuspendable(self, now)
        self._change(AccessCodeStatus.SUSPENDED, cause, now, self.holds | {Hold.OPERATOR})
        self.events.append(
            AccessCodeSuspended(record=self.record(), occurred_at=now, reason=cause.reason)
        )

    def reinstate(self, cause: Cause, holder: Holder, now: datetime) -> None:
        """The operators' hold is lifted, in time; raises AccessCodeNotReinstatable."""
        if self.standing(now) not in _LIVE or Hold.OPERATOR not in self.holds:
            raise AccessCodeNotReinstatable(self, now)
        self._lift(Hold.OPERATOR, cause, now)
        self.events.append(
            AccessCodeReinstated(
                record=self.record(), occurred_at=now, reason=cause.reason, holder=holder
            )
        )

    def revoke(self, cause: Cause, now: datetime) -> None:
        """Withdrawn for good; raises AccessCodeNotRevocable."""
        if self.standing(now) not in _LIVE:
            raise AccessCodeNotRevocable(self, now)
        self._change(AccessCodeStatus.REVOKED, cause, now)
        self.events.append(
            AccessCodeRevoked(record=self.record(), occurred_at=now, reason=cause.reason)
        )

    def reissue(
        self, new_id: str, new_code: str, cause: Cause, holder: Holder, now: datetime
    ) -> "AccessCode":
        """The code that replaces it from now on; raises AccessCodeNotReissuable."""
        if self.standing(now) is not AccessCodeStatus.ACTIVE:
            raise AccessCodeNotReissuable(self, now)
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
                record=issued.record(),
                occurred_at=now,
                replaced_id=self.id,
                reason=cause.reason,
                holder=holder,
            )
        )
        return issued

    def hold_for_refund(self, cause: Cause, now: datetime) -> None:
        """A full refund waits: what is live starts nothing meanwhile. Raises AccessCodeUsed."""
        if self.status is AccessCodeStatus.REDEEMED:
            raise AccessCodeUsed(self, now)
        if self.status in _LIVE:
            self._change(AccessCodeStatus.SUSPENDED, cause, now, self.holds | {Hold.REFUND})
        else:
            self._change(self.status, cause, now)

    def lift_refund_hold(self, cause: Cause, now: datetime) -> None:
        """The refund came to nothing. A code that it doesn't hold any more stays as it is."""
        if Hold.REFUND in self.holds:
            self._lift(Hold.REFUND, cause, now)

    def revoke_for_refund(self, cause: Cause, now: datetime) -> None:
        """Its price went back. What gives no right any more stays what it is."""
        live = self.status in _LIVE
        self._change(AccessCodeStatus.REVOKED if live else self.status, cause, now)

    def _lift(self, hold: Hold, cause: Cause, now: datetime) -> None:
        if left := self.holds - {hold}:
            self._change(AccessCodeStatus.SUSPENDED, cause, now, left)
        elif now >= self.expire_at:
            self._change(AccessCodeStatus.EXPIRED, cause, now)
        else:
            self._change(AccessCodeStatus.ACTIVE, cause, now)

    def _reject_use(self, session_id: str, cause_event_id: str, now: datetime) -> None:
        self.events.append(
            AccessCodeUseRejected(
                record=self.record(),
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
        holds: frozenset[Hold] = _NOTHING,
    ) -> None:
        before, self.status, self.holds = self.status, after, holds
        self.version += 1
        self._note(before, cause, now)

    def _note(self, before: AccessCodeStatus | None, cause: Cause, now: datetime) -> None:
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
