"""The ports of the use cases: repositories of one transaction, and new ids."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from notification_svc.domain.codes import CodeVersion
from notification_svc.domain.notifications import Notification
from notification_svc.domain.preferences import MailPreferences
from notification_svc.domain.suppressions import Suppression


class Notifications(Protocol):
    """The notifications."""

    async def add_new(self, notifications: Sequence[Notification]) -> None:
        """Adds notifications; skips a second one of an event and recipient, except resends."""

    async def get(self, notification_id: str) -> Notification:
        """Locked until the end of the transaction; raises NotificationNotFound."""

    async def due(self, now: datetime, limit: int) -> list[Notification]:
        """The longest due, locked: at most one per order, none while another is SENDING."""

    async def with_codes(self, order_ids: Collection[str], *, lock: bool) -> Sequence[Notification]:
        """The orders' mails with an access code, by version, then by age."""

    async def save_many(self, notifications: Sequence[Notification]) -> None:
        """Updates."""


class CodeVersions(Protocol):
    """The newest version of each order's access code."""

    async def upsert_newer(self, versions: Sequence[CodeVersion]) -> dict[str, CodeVersion]:
        """Stores newer versions; returns the newest by order, locked. No order occurs twice."""

    async def newest(self, order_ids: Collection[str]) -> dict[str, CodeVersion]:
        """The newest version by order, as committed."""


class Suppressions(Protocol):
    """The suppressed addresses, normalised."""

    async def among(self, emails: Collection[str]) -> set[str]:
        """Those of the addresses that are suppressed."""

    async def add(self, suppression: Suppression) -> Suppression:
        """Adds an address; returns the existing entry if there is one."""

    async def remove(self, email: str) -> None:
        """Raises SuppressionNotFound."""


class Preferences(Protocol):
    """Customers' mail preferences."""

    async def declining_feedback(self, customer_ids: Collection[str]) -> set[str]:
        """Those of the customers who declined mails about feedback."""

    async def save(self, preferences: MailPreferences) -> None:
        """Adds or updates."""


class UnitOfWork(Protocol):
    """The repositories of one transaction."""

    @property
    def notifications(self) -> Notifications: ...

    @property
    def code_versions(self) -> CodeVersions: ...

    @property
    def suppressions(self) -> Suppressions: ...

    @property
    def preferences(self) -> Preferences: ...


@dataclass(frozen=True, slots=True)
class IdFactory:
    """Creates ids; `new_id` creates one with a prefix."""

    new_id: Callable[[str], str]
    mail_domain: str

    def mail(self) -> tuple[str, str]:
        """A notification id and the Message-ID of its mail."""
        notification_id = self.new_id("ntf")
        return notification_id, f"<{notification_id}@{self.mail_domain}>"

    def suppression(self) -> str:
        """The id of an entry of the suppression list."""
        return self.new_id("sup")
