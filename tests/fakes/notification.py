"""notification's unit of work in memory: the rows of a transaction, and its events."""

from collections.abc import Collection, Sequence
from copy import deepcopy
from datetime import datetime, timedelta

from notification_svc.domain.codes import CodeVersion
from notification_svc.domain.contents import AccessCodeContent
from notification_svc.domain.notifications import (
    Notification,
    NotificationFailed,
    NotificationNotFound,
    NotificationStatus,
)
from notification_svc.domain.preferences import MailPreferences
from notification_svc.domain.suppressions import Suppression, SuppressionNotFound
from notification_svc.use_cases.ports import IdFactory


class NotificationsInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, Notification] = {}
        self.events: list[NotificationFailed] = []
        self.locks: list[bool] = []  # whether with_codes locked, by call

    async def add_new(self, notifications: Sequence[Notification]) -> None:
        for one in notifications:
            caused = {(n.event_id, n.recipient.email) for n in self.saved.values()}
            if one.resend_of or (one.event_id, one.recipient.email) not in caused:
                self.saved[one.notification_id] = deepcopy(one)

    async def get(self, notification_id: str) -> Notification:
        if notification_id not in self.saved:
            raise NotificationNotFound(notification_id)
        return deepcopy(self.saved[notification_id])

    async def due(self, now: datetime, limit: int) -> list[Notification]:
        sending = NotificationStatus.SENDING
        busy = {one.order_id for one in self.saved.values() if one.status is sending}
        found: dict[str, Notification] = {}
        for one in sorted(self.saved.values(), key=lambda one: one.due_at or now):
            is_due = one.due_at is not None and one.due_at <= now
            if is_due and (one.status is sending or one.order_id not in busy):
                found.setdefault(one.order_id, deepcopy(one))
        return list(found.values())[:limit]

    async def with_codes(self, order_ids: Collection[str], *, lock: bool) -> Sequence[Notification]:
        self.locks.append(lock)
        found = [
            (one.content.version, one.notification_id, deepcopy(one))
            for one in self.saved.values()
            if one.order_id in order_ids and isinstance(one.content, AccessCodeContent)
        ]
        return [one for _, _, one in sorted(found, key=lambda each: each[:2])]

    async def save_many(self, notifications: Sequence[Notification]) -> None:
        for one in notifications:
            self.events += one.events
            one.events.clear()
            self.saved[one.notification_id] = deepcopy(one)


class CodeVersionsInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, CodeVersion] = {}

    async def upsert_newer(self, versions: Sequence[CodeVersion]) -> dict[str, CodeVersion]:
        for one in versions:
            known = self.saved.get(one.order_id)
            if known is None or known.version < one.version:
                self.saved[one.order_id] = one
        return await self.newest([one.order_id for one in versions])

    async def newest(self, order_ids: Collection[str]) -> dict[str, CodeVersion]:
        return {order: self.saved[order] for order in order_ids if order in self.saved}


class SuppressionsInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, Suppression] = {}

    async def among(self, emails: Collection[str]) -> set[str]:
        return set(emails) & self.saved.keys()

    async def add(self, suppression: Suppression) -> Suppression:
        return self.saved.setdefault(suppression.email, suppression)

    async def remove(self, email: str) -> None:
        if self.saved.pop(email, None) is None:
            raise SuppressionNotFound


class PreferencesInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, MailPreferences] = {}

    async def declining_feedback(self, customer_ids: Collection[str]) -> set[str]:
        return {one for one in customer_ids if one in self.saved and self._declines(one)}

    def _declines(self, customer_id: str) -> bool:
        return self.saved[customer_id].feedback_declined

    async def save(self, preferences: MailPreferences) -> None:
        self.saved[preferences.customer_id] = preferences


class InMemory:
    """A unit of work."""

    def __init__(self) -> None:
        self.notifications = NotificationsInMemory()
        self.code_versions = CodeVersionsInMemory()
        self.suppressions = SuppressionsInMemory()
        self.preferences = PreferencesInMemory()


def identities() -> IdFactory:
    """Ids that count and sort: ntf_001, then sup_002."""
    count = 0

    def new_id(prefix: str) -> str:
        nonlocal count
        count += 1
        return f"{prefix}_{count:03d}"

    return IdFactory(new_id, "example.org")


def after_a_minute(_attempts: int) -> timedelta:
    """A backoff that doesn't grow."""
    return timedelta(minutes=1)
