"""The repository of products."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.money import Money
from payment_svc.domain.products import Catalogue, Product
from payment_svc.storage.tables import products as table


class SqlProducts:
    """The products of the catalogue."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Product]:
        """All products, in the catalogue's order."""
        statement = select(table).order_by(table.c.sort_order)
        return [_product(row) for row in await self._connection.execute(statement)]

    async def catalogue(self) -> Catalogue:
        """The catalogue of all products."""
        return Catalogue(await self.all())


def _product(row: Row[Any]) -> Product:
    return Product(
        product_id=row.product_id,
        title_zh=row.title_zh,
        title_en=row.title_en,
        price=Money(row.amount_minor, row.currency_code),
        validity=timedelta(days=row.validity_days),
    )
