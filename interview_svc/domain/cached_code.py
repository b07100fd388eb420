"""CachedCode: interview's local copy of payment's record of an order's access code.

The cache is a table and not process memory: replicas share one durable consumer, so that each event
reaches one replica only.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from interview_svc.domain.errors import (
    CodeExpired,
    CodeNotStartable,
    CodeRedeemed,
    CodeRevoked,
    CodeSuspended,
)
from interview_svc.domain.events import SessionWithheld


class CodeStatus(StrEnum):
    """The states of an access code, named as in payment's contract."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


class ValidationReason(StrEnum):
    """Why an existing access code can or cannot start its interview."""

    VALID = "VALID"
    REVOKED = "REVOKED"
    SUSPENDED = "SUSPENDED"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"


_ERRORS: dict[ValidationReason, type[CodeNotStartable]] = {
    ValidationReason.REVOKED: CodeRevoked,
    ValidationReason.SUSPENDED: CodeSuspended,
    ValidationReason.REDEEMED: CodeRedeemed,
    ValidationReason.EXPIRED: CodeExpired,
}


def check_valid(reason: ValidationReason) -> None:
    """Raises the CodeNotStartable error of a reason other than VALID."""
    if reason is not ValidationReason.VALID:
        raise _ERRORS[reason]


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """payment's record of an access code. `version` counts the changes per order."""

    order_id: str
    access_code_id: str
    code: str
    status: CodeStatus
    expire_at: datetime
    version: int
    product_id: str

    def is_live(self, now: datetime) -> bool:
        """Whether the code can start its interview, now or after a suspension ends."""
        return self.status in (CodeStatus.ACTIVE, CodeStatus.SUSPENDED) and now < self.expire_at


@dataclass(frozen=True, slots=True)
class Holder:
    """The order's customer and the recipient of the access code. It never changes."""

    customer_id: str
    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True)
class CodeUpdate:
    """A record of an access code as an event or a reply of payment carries it.

    `holder` is None where the event does not carry it. `refunded` marks the update of an order's
    full refund.
    """

    record: CodeRecord
    holder: Holder | None = None
    refunded: bool = False


@dataclass(slots=True)
class CachedCode:
    """The newest known record of an order's access code.

    `holder` is None until PaymentCompleted is handled, which can be after other events.
    `refunded` is true if the newest record came with the order's full refund.
    """

    record: CodeRecord
    holder: Holder | None = None
    refunded: bool = False
    events: list[SessionWithheld] = field(default_factory=list, compare=False)

    def apply(self, update: CodeUpdate) -> bool:
        """Applies a newer record, and the holder if unknown; returns whether anything changed.

        Gaps in the versions are normal.
        """
        return self._merge(update, newer=update.record.version > self.record.version)

    def correct(self, update: CodeUpdate, queried_version: int) -> bool:
        """Applies payment's reply to a query; returns whether anything changed.

        `queried_version` is the cached version before the query. A reply of the same version
        replaces a cached record that differs. A reply of a lower version does so only if the cached
        version is still `queried_version`: then the cache is ahead of payment, which is wrong (for
        example after payment was restored from a backup).
        """
        cached = self.record.version
        current = update.record.version >= cached or cached == queried_version
        return self._merge(update, newer=current and update.record != self.record)

    def _merge(self, update: CodeUpdate, *, newer: bool) -> bool:
        adds_holder = self.holder is None and update.holder is not None
        if newer:
            self.record, self.refunded = update.record, update.refunded
        if adds_holder:
            self.holder = update.holder
        return newer or adds_holder

    def validate(self, now: datetime) -> ValidationReason:
        """Whether the code can start its interview at `now`, according to the cached record."""
        if self.record.status is not CodeStatus.ACTIVE:
            return ValidationReason(self.record.status)
        expired = now >= self.record.expire_at
        return ValidationReason.EXPIRED if expired else ValidationReason.VALID

    def check_startable(self, now: datetime) -> None:
        """Raises CodeNotStartable unless the code is ACTIVE and not expired at `now`."""
        check_valid(self.validate(now))

    @property
    def prevents_start(self) -> bool:
        """Whether the status prevents a start: the guarantee that SessionWithheld gives."""
        return self.record.status is not CodeStatus.ACTIVE

    def confirm_withheld_for_refund(self, refund_id: str, session_id: str, now: datetime) -> None:
        """Records that the order's session has not started and will not start during the refund.

        `session_id` is empty if the order has no session.
        """
        self.events.append(
            SessionWithheld(
                order_id=self.record.order_id,
                refund_id=refund_id,
                session_id=session_id,
                occurred_at=now,
            )
        )
