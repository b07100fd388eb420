"""The repository of orders."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, bindparam, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement, any_of
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import OrderNotFound
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.payments import FINAL, PaymentStatus
from payment_svc.domain.recipient import Recipient
from payment_svc.storage.tables import orders as table
from payment_svc.storage.tables import payments
from payment_svc.storage.upsert import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import newest_of_status

PAST_EXPIRY = and_(table.c.status == OrderStatus.PENDING_PAYMENT, table.c.expire_at <= func.now())
_OPEN_PAYMENT = exists().where(
    payments.c.order_id == table.c.order_id,
    payments.c.status.in_([status for status in PaymentStatus if status not in FINAL]),
)
_BY_ID = select(table).where(table.c.order_id == bindparam("order_id"))
_FIND = FixedStatement(_BY_ID)
_LOCK = FixedStatement(_BY_ID.with_for_update())
_LOCK_MANY = FixedStatement(
    select(table)
    .where(table.c.order_id == any_of("ids"))
    .order_by(table.c.order_id)
    .with_for_update()
)
_UPSERT = upsert(table)


class SqlOrders:
    """The orders."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(self, order_id: str, *, lock: bool = True) -> Order:
        """Returns an order; raises OrderNotFound."""
        statement = _LOCK if lock else _FIND
        if (row := await statement.first(self._connection, {"order_id": order_id})) is None:
            raise OrderNotFound(f"no order {order_id}")
        return _order(row)

    async def get_many(self, ids: Sequence[str]) -> dict[str, Order]:
        """Locks the existing orders, sorted by id, and returns them by id."""
        rows = await _LOCK_MANY.fetch(self._connection, {"ids": list(ids)})
        return {row.order_id: _order(row) for row in rows}

    async def page(
        self, customer_id: str, status: str, after: str, limit: int, *, visible_to: str | None
    ) -> list[Order]:
        """Orders after the id `after`, newest first; "" does not filter.

        With `visible_to`, only orders of that customer.
        """
        statement: Select[Any] = select(table)
        if visible_to is not None:
            statement = statement.where(table.c.customer_id == visible_to)
        if customer_id:
            statement = statement.where(table.c.customer_id == customer_id)
        status_filter = table.c.status, status
        of_one = visible_to is not None or bool(customer_id)
        statement = newest_of_status(
            statement, table.c.order_id, after, limit, status_filter, of_one=of_one
        )
        return [_order(row) for row in await self._connection.execute(statement)]

    async def ids_due_to_expire(self, limit: int) -> list[str]:
        """Ids of unpaid orders past `expire_at` without an open payment, oldest first."""
        statement = (
            select(table.c.order_id)
            .where(PAST_EXPIRY, ~_OPEN_PAYMENT)
            .order_by(table.c.expire_at)
            .limit(limit)
        )
        return list((await self._connection.execute(statement)).scalars())

    async def save(self, order: Order) -> None:
        """Inserts or updates."""
        row = {
            "order_id": order.order_id,
            "customer_id": order.customer_id,
            "product_id": order.product_id,
            "amount_minor": order.price.amount_minor,
            "currency_code": order.price.currency_code,
            "email": order.recipient.email,
            "display_name": order.recipient.display_name,
            "language_code": order.recipient.language_code,
            "status": order.status,
            "created_at": order.created_at,
            "expire_at": order.expire_at,
            "paid_at": order.paid_at,
            "access_code_id": order.access_code_id,
            "refunded_minor": order.refunded_minor,
            "payment_id": order.payment_id,
        }
        await _UPSERT.execute(self._connection, row)
        self._collect_events([order])


def of_customer(statement: Select[Any], order_id: Any, customer_id: str | None) -> Select[Any]:
    """Filters a query by the customer of the order in the column `order_id`; None for all."""
    if customer_id is None:
        return statement
    orders = select(table.c.order_id).where(table.c.customer_id == customer_id)
    return statement.where(order_id.in_(orders))


def _order(row: Any) -> Order:
    return Order(
        order_id=row.order_id,
        customer_id=row.customer_id,
        product_id=row.product_id,
        price=Money(row.amount_minor, row.currency_code),
        recipient=Recipient(row.email, row.display_name, row.language_code),
        created_at=row.created_at,
        expire_at=row.expire_at,
        status=OrderStatus(row.status),
        paid_at=row.paid_at,
        access_code_id=row.access_code_id,
        refunded_minor=row.refunded_minor,
        payment_id=row.payment_id,
    )
