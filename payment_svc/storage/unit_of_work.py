"""One transaction of payment: its repositories, and what its aggregates announce."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Outbox
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.orders import Order
from payment_svc.domain.payments import Payment
from payment_svc.domain.products import Catalogue
from payment_svc.domain.refunds import Refund
from payment_svc.messages.events import DomainEvent, to_bus
from payment_svc.storage.access_codes import SqlAccessCodes
from payment_svc.storage.ledger import SqlLedger
from payment_svc.storage.provider_notifications import SqlProviderNotifications
from payment_svc.storage.refunds import SqlRefunds
from payment_svc.storage.repositories import SqlOrders, SqlPayments, SqlProducts
from payment_svc.storage.tables import bus
from runtime.database.transactions import Transactions


class _TellingOrders(SqlOrders):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def save(self, order: Order) -> None:
        await super().save(order)
        self._told += order.events
        order.events.clear()


class _TellingPayments(SqlPayments):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def save(self, payment: Payment) -> None:
        await super().save(payment)
        self._told += payment.events
        payment.events.clear()


class _TellingRefunds(SqlRefunds):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def save(self, refund: Refund) -> None:
        await super().save(refund)
        self._told += refund.events
        refund.events.clear()


class _TellingAccessCodes(SqlAccessCodes):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        await super().save_many(codes)
        for code in codes:
            self._told += code.events
            code.events.clear()
            code.audit.clear()


class UnitOfWork:
    """The repositories over one connection. `announce` is called once, before the commit."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._told: list[DomainEvent] = []
        self.orders = _TellingOrders(connection, self._told)
        self.payments = _TellingPayments(connection, self._told)
        self.refunds = _TellingRefunds(connection, self._told)
        self.notifications = SqlProviderNotifications(connection)
        self.ledger = SqlLedger(connection)
        self.access_codes = _TellingAccessCodes(connection, self._told)
        self.products = SqlProducts(connection)

    async def clock(self) -> datetime:
        """The database's clock: sweepers of all replicas go by this one."""
        moment: datetime = (await self.connection.execute(select(func.now()))).scalar_one()
        return moment

    async def catalogue(self) -> Catalogue:
        """What is on sale."""
        return await self.products.catalogue()

    async def flush_events(self) -> None:
        """Puts what the saved aggregates announced into the outbox."""
        await Outbox(bus).publish(self.connection, [to_bus(event) for event in self._told])
        self._told.clear()


Database = Transactions[UnitOfWork]
