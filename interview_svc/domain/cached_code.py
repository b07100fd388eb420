"""CachedCode: interview's own copy of what payment announced about an order's access code.

A table, not process memory: replicas share a consumer, and each event reaches one of them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from interview_svc.domain.events import SessionWithheld


class CodeStatus(StrEnum):
    """Where payment said that a code stands."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


class ValidationReason(StrEnum):
    """Why a code that exists may start its interview, or may not."""

    VALID = "VALID"
    REVOKED = "REVOKED"
    SUSPENDED = "SUSPENDED"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"


class CodeNotStartable(Exception):
    """The code is known and may not start its interview."""

    # Whoever holds a code need not learn whose it is: the field that it came in, not its id.
    subject = "access_code"
    state: CodeStatus

    def __init__(self) -> None:
        super().__init__(f"the access code is {self.state}, which can't start an interview")


class CodeRevoked(CodeNotStartable):
    """The access code was withdrawn for good."""

    state = CodeStatus.REVOKED


class CodeSuspended(CodeNotStartable):
    """The access code is held back for the time being."""

    state = CodeStatus.SUSPENDED


class CodeRedeemed(CodeNotStartable):
    """The access code was used: its interview has started."""

    state = CodeStatus.REDEEMED


class CodeExpired(CodeNotStartable):
    """The access code has expired."""

    state = CodeStatus.EXPIRED


_REFUSALS: dict[ValidationReason, type[CodeNotStartable]] = {
    ValidationReason.REVOKED: CodeRevoked,
    ValidationReason.SUSPENDED: CodeSuspended,
    ValidationReason.REDEEMED: CodeRedeemed,
    ValidationReason.EXPIRED: CodeExpired,
}


def check_valid(reason: ValidationReason) -> None:
    """Raises the CodeNotStartable of a reason, unless it is VALID."""
    if reason is not ValidationReason.VALID:
        raise _REFUSALS[reason]


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

    def is_live(self, now: datetime) -> bool:
        """Whether it starts its interview, or will when it isn't held back any more."""
        return self.status in (CodeStatus.ACTIVE, CodeStatus.SUSPENDED) and now < self.expire_at


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose order it is and whom its code was sent to. It never changes."""

    customer_id: str
    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True)
class CodeUpdate:
    """What was heard of an order's code: its record, and what only some events tell beside it."""

    record: CodeRecord
    holder: Holder | None = None
    refunded: bool = False


@dataclass(slots=True)
class CachedCode:
    """The newest record known of an order's code.

    The holder is unknown until PaymentCompleted comes, which may be after other events.
    `refunded` says that the newest record came with the order's full refund.
    """

    record: CodeRecord
    holder: Holder | None = None
    refunded: bool = False
    events: list[SessionWithheld] = field(default_factory=list, compare=False)

    def apply(self, heard: CodeUpdate) -> bool:
        """Takes what is newer or was unknown; False if nothing is. Gaps in versions are normal."""
        newer = heard.record.version > self.record.version
        return self._take(heard, newer=newer)

    def correct(self, heard: CodeUpdate, known: int) -> bool:
        """Takes payment's answer, also for the version that is known: then ours was wrong.

        `known` is the version that ours had before payment was asked. If it still has it, it can't
        rightly be ahead of the answer: payment itself went back, as from a backup.
        """
        ours = self.record.version
        current = (heard.record.version >= ours or ours == known) and heard.record != self.record
        return self._take(heard, newer=current)

    def _take(self, heard: CodeUpdate, *, newer: bool) -> bool:
        fills = self.holder is None and heard.holder is not None
        if newer:
            self.record, self.refunded = heard.record, heard.refunded
        if fills:
            self.holder = heard.holder
        return newer or fills

    def judge(self, now: datetime) -> ValidationReason:
        """Whether the code may start its interview at `now`, as far as is known here."""
        if self.record.status is not CodeStatus.ACTIVE:
            return ValidationReason(self.record.status)
        expired = now >= self.record.expire_at
        return ValidationReason.EXPIRED if expired else ValidationReason.VALID

    def check_startable(self, now: datetime) -> None:
        """Raises a CodeNotStartable unless ACTIVE and not expired at `now`."""
        check_valid(self.judge(now))

    @property
    def withholds(self) -> bool:
        """Whether the session can't be started now: the promise that SessionWithheld makes."""
        return self.record.status is not CodeStatus.ACTIVE

    def withhold(self, refund_id: str, session_id: str, now: datetime) -> None:
        """Answers a refund: the order's session, if there is one, has not started and won't."""
        self.events.append(
            SessionWithheld(
                order_id=self.record.order_id,
                refund_id=refund_id,
                session_id=session_id,
                occurred_at=now,
            )
        )
