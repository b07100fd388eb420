"""Domain events of access codes, and the entries of their audit."""

from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.recipient import Recipient


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a code: when, by whom, the statuses, the causing event, and the reason."""

    access_code_id: str
    version: int
    changed_at: datetime
    actor: str
    before: AccessCodeStatus | None
    after: AccessCodeStatus
    cause_event_id: str
    reason: str = ""

    @property
    def page_key(self) -> str:
        """The entry's key for pagination: it has the form of an id and sorts by version."""
        return f"aud_{self.version:026d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeSnapshot:
    """The state of an access code at one version."""

    id: str
    code: str
    order_id: str
    product_id: str
    expire_at: datetime
    issued_at: datetime
    status: AccessCodeStatus
    version: int
    redeemed_session_id: str
    redeemed_at: datetime | None
    holds: frozenset[Hold]
    replaced_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _AccessCodeEvent:
    """`record` is the code after the change."""

    record: AccessCodeSnapshot
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeRedeemed(_AccessCodeEvent):
    """An interview was started with the code."""

    cause_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeUseRejected(_AccessCodeEvent):
    """An interview was started although the code was not valid."""

    session_id: str
    judged_as: AccessCodeStatus
    cause_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeExpired(_AccessCodeEvent):
    """The code expired before it was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeSuspended(_AccessCodeEvent):
    """An operator suspended the code."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeReinstated(_AccessCodeEvent):
    """An operator lifted the operators' hold."""

    reason: str
    customer_id: str
    recipient: Recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeRevoked(_AccessCodeEvent):
    """An operator revoked the code."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCodeReissued(_AccessCodeEvent):
    """The code replaces another one; `record` is the new code."""

    replaced_id: str
    reason: str
    customer_id: str
    recipient: Recipient


AccessCodeEvent = (
    AccessCodeRedeemed
    | AccessCodeUseRejected
    | AccessCodeExpired
    | AccessCodeSuspended
    | AccessCodeReinstated
    | AccessCodeRevoked
    | AccessCodeReissued
)
