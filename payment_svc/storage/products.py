"""The repository of products."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement
from payment_svc.domain.money import Money
from payment_svc.domain.products import Catalogue, Product
from payment_svc.storage.tables import products as table

_ALL = FixedStatement(select(table).order_by(table.c.sort_order))


class SqlProducts:
    """The products of the catalogue."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Product]:
        """All products, in the catalogue's order."""
        return [_product(row) for row in await _ALL.fetch(self._connection)]

    async def catalogue(self) -> Catalogue:
        """The catalogue of all products."""
        return Catalogue(await self.all())


def _product(row: Any) -> Product:
    return Product(
        product_id=row.product_id,
        title_zh=row.title_zh,
        title_en=row.title_en,
        price=Money(row.amount_minor, row.currency_code),
        validity=timedelta(days=row.validity_days),
    )
