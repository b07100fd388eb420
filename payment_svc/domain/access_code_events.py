"""What becomes known of an access code: its announcements, and its audit."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the aggregate announces these, and they carry it
    from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a code: when, who, from what to what, caused by which event, and why."""

    access_code_id: str
    version: int
    changed_at: datetime
    actor: str
    before: "AccessCodeStatus | None"
    after: "AccessCodeStatus"
    cause_event_id: str
    reason: str = ""

    @property
    def place(self) -> str:
        """Its place in the code's audit, in the form of an id: pages are cut by it."""
        return f"aud_{self.version:026d}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose code it is and who gets it."""

    customer_id: str
    email: str
    display_name: str
    language_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _AboutCode:
    """`record` is the code after the change."""

    record: "AccessCode"
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeRedeemed(_AboutCode):
    """A code was used to start its interview."""

    cause_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeUseRejected(_AboutCode):
    """An interview was started with a code that gave no right to it."""

    session_id: str
    judged_as: "AccessCodeStatus"
    cause_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeExpired(_AboutCode):
    """A code ran out before it was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeSuspended(_AboutCode):
    """An operator held a code back."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeReinstated(_AboutCode):
    """An operator lifted their hold."""

    reason: str
    holder: Holder


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeRevoked(_AboutCode):
    """An operator withdrew a code for good."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeReissued(_AboutCode):
    """A code was replaced; `record` is the new one."""

    replaced_id: str
    reason: str
    holder: Holder


AccessCodeEvent = (
    AccessCodeRedeemed
    | AccessCodeUseRejected
    | AccessCodeExpired
    | AccessCodeSuspended
    | AccessCodeReinstated
    | AccessCodeRevoked
    | AccessCodeReissued
)
