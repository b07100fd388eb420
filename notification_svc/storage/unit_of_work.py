"""One transaction of notification: its repositories, and what its aggregates announce."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Outbox
from notification_svc.domain.notifications import Notification, NotificationFailed
from notification_svc.messages.replies import to_bus
from notification_svc.storage.code_versions import SqlCodeVersions
from notification_svc.storage.notifications import SqlNotifications
from notification_svc.storage.recipients import SqlPreferences, SqlSuppressions
from notification_svc.storage.tables import bus
from runtime.database.transactions import Transactions


class _TellingNotifications(SqlNotifications):
    def __init__(self, connection: AsyncConnection, told: list[NotificationFailed]) -> None:
        super().__init__(connection)
        self._told = told

    async def save_many(self, notifications: Sequence[Notification]) -> None:
        await super().save_many(notifications)
        for notification in notifications:
            self._told += notification.events
            notification.events.clear()


class UnitOfWork:
    """The repositories over one connection. `announce` is called once, before the commit."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._told: list[NotificationFailed] = []
        self.notifications = _TellingNotifications(connection, self._told)
        self.code_versions = SqlCodeVersions(connection)
        self.suppressions = SqlSuppressions(connection)
        self.preferences = SqlPreferences(connection)

    async def clock(self) -> datetime:
        """The database's clock: all processes that send mails go by this one."""
        moment: datetime = (await self.connection.execute(select(func.now()))).scalar_one()
        return moment

    async def flush_events(self) -> None:
        """Puts what the saved aggregates announced into the outbox."""
        await Outbox(bus).publish(self.connection, [to_bus(event) for event in self._told])
        self._told.clear()


Database = Transactions[UnitOfWork]
