"""One transaction of notification."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from notification_svc.storage.repositories import NotificationRows
from runtime.transactions import Transactions


class UnitOfWork:
    """The repository over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.notifications = NotificationRows(connection)

    async def clock(self) -> datetime:
        """The database's clock: all processes that send mails go by this one."""
        moment: datetime = (await self._connection.execute(select(func.now()))).scalar_one()
        return moment

    async def announce(self) -> None:
        """Does nothing: notification announces no events."""


Database = Transactions[UnitOfWork]
