"""One transaction of payment: its repositories, and what its aggregates announce."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Outbox
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.orders import Order
from payment_svc.domain.products import Catalogue
from payment_svc.messages import DomainEvent, to_bus
from payment_svc.storage.repositories import AccessCodeRows, OrderRows, PaymentRows, ProductRows
from payment_svc.storage.tables import bus
from runtime.transactions import Transactions


class _TellingOrders(OrderRows):
    def __init__(self, connection: AsyncConnection, told: list[DomainEvent]) -> None:
        super().__init__(connection)
        self._told = told

    async def save(self, order: Order) -> None:
        await super().save(order)
        self._told += order.events
        order.events.clear()


class _TellingAccessCodes(AccessCodeRows):
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
        self.payments = PaymentRows(connection)
        self.access_codes = _TellingAccessCodes(connection, self._told)
        self.products = ProductRows(connection)

    async def catalogue(self) -> Catalogue:
        """What is on sale."""
        return await self.products.catalogue()

    async def announce(self) -> None:
        """Puts what the saved aggregates announced into the outbox."""
        await Outbox(bus).publish(self.connection, [to_bus(event) for event in self._told])
        self._told.clear()


Database = Transactions[UnitOfWork]
