"""payment's unit of work."""

from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.products import Catalogue
from payment_svc.messages.events import to_bus
from payment_svc.storage.access_codes import SqlAccessCodes
from payment_svc.storage.ledger import SqlLedger
from payment_svc.storage.orders import SqlOrders
from payment_svc.storage.payments import SqlPayments
from payment_svc.storage.products import SqlProducts
from payment_svc.storage.provider_notifications import SqlProviderNotifications
from payment_svc.storage.refunds import SqlRefunds
from payment_svc.storage.settlement import SqlSettlement
from payment_svc.storage.tables import bus, check_progress
from runtime.database import unit_of_work
from runtime.database.transactions import Transactions
from runtime.ops.check_progress import CheckProgressStore


class UnitOfWork(unit_of_work.UnitOfWork):
    """One transaction and payment's repositories in it."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, bus, to_bus)
        self.orders = SqlOrders(connection, self.collect_events)
        self.payments = SqlPayments(connection, self.collect_events)
        self.refunds = SqlRefunds(connection, self.collect_events)
        self.access_codes = SqlAccessCodes(connection, self.collect_events)
        self.notifications = SqlProviderNotifications(connection)
        self.products = SqlProducts(connection)
        self.ledger = SqlLedger(connection)
        self.settlement = SqlSettlement(connection)
        self.check_progress = CheckProgressStore(connection, check_progress)

    async def catalogue(self) -> Catalogue:
        """The catalogue of all products."""
        return await self.products.catalogue()


Database = Transactions[UnitOfWork]
