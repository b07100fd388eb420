"""One transaction of notification and its repositories."""

from sqlalchemy.ext.asyncio import AsyncConnection

from notification_svc.messages.events import to_bus
from notification_svc.storage.code_versions import SqlCodeVersions
from notification_svc.storage.mail_status import SqlMailStatus
from notification_svc.storage.notifications import SqlNotifications
from notification_svc.storage.recipients import SqlPreferences, SqlSuppressions
from notification_svc.storage.tables import bus
from runtime.database import unit_of_work
from runtime.database.transactions import Transactions


class UnitOfWork(unit_of_work.UnitOfWork):
    """The repositories over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, bus, to_bus)
        self.notifications = SqlNotifications(connection, self.collect_events)
        self.mail_status = SqlMailStatus(connection)
        self.code_versions = SqlCodeVersions(connection)
        self.suppressions = SqlSuppressions(connection)
        self.preferences = SqlPreferences(connection)


Database = Transactions[UnitOfWork]
