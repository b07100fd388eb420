"""What the use cases need: rows of one transaction, and where identities come from."""

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
        """Adds those whose event has caused no mail to their recipient yet; resends always."""

    async def get(self, notification_id: str) -> Notification:
        """Locked until the end of the transaction; raises NotificationNotFound."""

    async def due(self, now: datetime, limit: int) -> list[Notification]:
        """The longest due, locked, at most one of an order and none beside one that is SENDING."""

    async def telling_codes(
        self, order_ids: Collection[str], *, lock: bool
    ) -> Sequence[Notification]:
        """The orders' mails that tell an access code, oldest version first, then oldest first."""

    async def save_many(self, notifications: Sequence[Notification]) -> None:
        """Updates."""


class CodeVersions(Protocol):
    """The newest version of each order's access code."""

    async def raise_to(self, versions: Sequence[CodeVersion]) -> dict[str, CodeVersion]:
        """Takes what is newer; the newest then known by order, locked. No order occurs twice."""

    async def of(self, order_ids: Collection[str]) -> dict[str, CodeVersion]:
        """The newest known by order, as committed now."""


class Suppressions(Protocol):
    """The addresses that get no mail. They are given and returned normalised."""

    async def among(self, emails: Collection[str]) -> set[str]:
        """Those of the addresses that get no mail."""

    async def add(self, suppression: Suppression) -> Suppression:
        """Adds an address; if it is there already, that entry stays and is returned."""

    async def remove(self, email: str) -> None:
        """Raises SuppressionNotFound."""


class Preferences(Protocol):
    """What customers want."""

    async def declining_feedback(self, customer_ids: Collection[str]) -> set[str]:
        """Those of the customers who decline mails about feedback."""

    async def save(self, preferences: MailPreferences) -> None:
        """Adds or updates."""


class UnitOfWork(Protocol):
    """What one transaction changes; what the aggregates announce commits with it."""

    @property
    def notifications(self) -> Notifications: ...

    @property
    def code_versions(self) -> CodeVersions: ...

    @property
    def suppressions(self) -> Suppressions: ...

    @property
    def preferences(self) -> Preferences: ...


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """Where identities come from: `new_id` makes one by its prefix."""

    new_id: Callable[[str], str]
    mail_domain: str

    def mail(self) -> tuple[str, str]:
        """The ids of a notification and of the mail made of it."""
        notification_id = self.new_id("ntf")
        return notification_id, f"<{notification_id}@{self.mail_domain}>"

    def suppression(self) -> str:
        """The id of an entry of the suppression list."""
        return self.new_id("sup")
