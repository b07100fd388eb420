"""payment's repositories: rows to aggregates and back, in the transaction they are given."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, Select, and_, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderNotFound, OrderStatus, Recipient
from payment_svc.domain.payments import FINAL, Payment, PaymentNotFound, PaymentStatus
from payment_svc.domain.products import Catalogue, Product
from payment_svc.storage import tables
from payment_svc.storage.saving import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import after

_OPEN = [status for status in PaymentStatus if status not in FINAL]
_LAPSED = and_(
    tables.orders.c.status == OrderStatus.PENDING_PAYMENT, tables.orders.c.expire_at <= func.now()
)


class SqlProducts:
    """The catalogue."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Product]:
        """All products in their order."""
        statement = select(tables.products).order_by(tables.products.c.sort_order)
        return [_product(row) for row in await self._connection.execute(statement)]

    async def catalogue(self) -> Catalogue:
        """All products, to be asked for one."""
        return Catalogue(await self.all())


class SqlOrders:
    """The orders."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(self, order_id: str, *, lock: bool = True) -> Order:
        """One order; raises OrderNotFound."""
        statement = select(tables.orders).where(tables.orders.c.order_id == order_id)
        statement = statement.with_for_update() if lock else statement
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise OrderNotFound(f"no order {order_id}")
        return _order(row)

    async def get_many(self, ids: Sequence[str]) -> dict[str, Order]:
        """Those that exist, by id, locked in the order of their ids."""
        table = tables.orders
        statement = select(table).where(table.c.order_id.in_(ids)).order_by(table.c.order_id)
        rows = await self._connection.execute(statement.with_for_update())
        return {row.order_id: _order(row) for row in rows}

    async def page(
        self, customer_id: str, status: str, last: str, limit: int, *, only: str | None
    ) -> list[Order]:
        """Orders after `last`, newest first; "" doesn't restrict. `only` is who may see them."""
        table = tables.orders
        statement: Select[Any] = select(table)
        if only is not None:
            statement = statement.where(table.c.customer_id == only)
        if customer_id:
            statement = statement.where(table.c.customer_id == customer_id)
        if status:
            statement = statement.where(table.c.status == status)
        statement = after(statement, table.c.order_id, last, limit, newest_first=True)
        return [_order(row) for row in await self._connection.execute(statement)]

    async def lapsed(self, limit: int) -> list[str]:
        """Ids of orders that nobody paid in time and nobody is just paying, oldest first."""
        table, payments = tables.orders, tables.payments
        opened = exists().where(
            payments.c.order_id == table.c.order_id, payments.c.status.in_(_OPEN)
        )
        statement = (
            select(table.c.order_id)
            .where(_LAPSED, ~opened)
            .order_by(table.c.expire_at)
            .limit(limit)
        )
        return list((await self._connection.execute(statement)).scalars())

    async def save(self, order: Order) -> None:
        """Adds or updates."""
        row = {
            "order_id": order.order_id,
            "customer_id": order.customer_id,
            "product_id": order.product_id,
            **asdict(order.price),
            **asdict(order.recipient),
            "status": order.status,
            "created_at": order.created_at,
            "expire_at": order.expire_at,
            "paid_at": order.paid_at,
            "access_code_id": order.access_code_id,
            "refunded_minor": order.refunded_minor,
            "payment_id": order.payment_id,
        }
        await upsert(self._connection, tables.orders, [row])
        self._collect_events([order])


class SqlPayments:
    """The payments."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(self, payment_id: str, *, lock: bool = True, only: str | None = None) -> Payment:
        """One payment, if `only` may see it; raises PaymentNotFound."""
        statement = select(tables.payments).where(tables.payments.c.payment_id == payment_id)
        statement = _seen_by(statement, only)
        statement = statement.with_for_update() if lock else statement
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise PaymentNotFound(f"no payment {payment_id}")
        return _payment(row)

    async def find(self, payment_id: str) -> Payment | None:
        """As it stands, not locked."""
        table = tables.payments
        return await self._first(select(table).where(table.c.payment_id == payment_id))

    async def find_by_request(self, caller: str, request_id: str) -> Payment | None:
        """The payment that a call began; calls with the same id wait for each other."""
        call = f"payment request {caller} {request_id}"
        lock = func.pg_advisory_xact_lock(func.hashtextextended(call, 0))
        await self._connection.execute(select(lock))
        table = tables.payments
        return await self._first(
            select(table).where(table.c.caller == caller, table.c.request_id == request_id)
        )

    async def find_open(self, order_id: str) -> Payment | None:
        """A payment of the order whose outcome isn't known."""
        table = tables.payments
        return await self._first(
            select(table).where(table.c.order_id == order_id, table.c.status.in_(_OPEN)).limit(1)
        )

    async def _first(self, statement: Select[Any]) -> Payment | None:
        row = (await self._connection.execute(statement)).first()
        return _payment(row) if row else None

    async def take_due(self, pause: timedelta, limit: int) -> Sequence[Payment]:
        """Payments without outcome that haven't changed for `pause`, nor were taken; now they are.

        Those come first that wait the longest. Replicas take different ones; one that dies lets
        go of its own after the pause.
        """
        table, now = tables.payments, func.now()
        due = (
            select(table.c.payment_id)
            .where(table.c.status.in_(_OPEN), table.c.due_at <= now)
            .where(table.c.updated_at < now - pause)
            .order_by(table.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = update(table).where(table.c.payment_id.in_(due)).values(due_at=now + pause)
        rows = await self._connection.execute(taken.returning(*table.columns))
        return [_payment(row) for row in rows]

    async def open_of_lapsed(self, limit: int) -> list[Payment]:
        """Payments without outcome of orders whose time is over, the longest unchanged first."""
        table, orders = tables.payments, tables.orders
        statement = (
            select(table)
            .join(orders, orders.c.order_id == table.c.order_id)
            .where(_LAPSED, table.c.status.in_(_OPEN))
            .order_by(table.c.updated_at)
            .limit(limit)
        )
        return [_payment(row) for row in await self._connection.execute(statement)]

    async def page(
        self, order_id: str, last: str, limit: int, *, only: str | None
    ) -> list[Payment]:
        """An order's payments after `last`, oldest first, if `only` may see them."""
        table = tables.payments
        statement = _seen_by(select(table).where(table.c.order_id == order_id), only)
        statement = after(statement, table.c.payment_id, last, limit, newest_first=False)
        return [_payment(row) for row in await self._connection.execute(statement)]

    async def save(self, payment: Payment) -> None:
        """Adds or updates."""
        row = {
            name: getattr(payment, name)
            for name in payment.__dataclass_fields__
            if name not in {"amount", "captured", "events"}
        }
        row["captured_minor"] = payment.captured.amount_minor if payment.captured else None
        await upsert(self._connection, tables.payments, [row | asdict(payment.amount)])
        self._collect_events([payment])


def _seen_by(statement: Select[Any], customer: str | None) -> Select[Any]:
    """Restricts a query of payments to those for a customer's orders."""
    if customer is None:
        return statement
    orders = tables.orders
    theirs = select(orders.c.order_id).where(orders.c.customer_id == customer)
    return statement.where(tables.payments.c.order_id.in_(theirs))


def _product(row: Row[Any]) -> Product:
    return Product(
        product_id=row.product_id,
        title_zh=row.title_zh,
        title_en=row.title_en,
        price=Money(row.amount_minor, row.currency_code),
        validity=timedelta(days=row.validity_days),
    )


def _order(row: Row[Any]) -> Order:
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


def _payment(row: Row[Any]) -> Payment:
    minor, currency_code = row.captured_minor, row.currency_code
    return Payment(
        payment_id=row.payment_id,
        order_id=row.order_id,
        amount=Money(row.amount_minor, row.currency_code),
        payment_method=row.payment_method,
        caller=row.caller,
        request_id=row.request_id,
        request_hash=row.request_hash,
        created_at=row.created_at,
        updated_at=row.updated_at,
        status=PaymentStatus(row.status),
        failure_reason=row.failure_reason,
        captured=None if minor is None else Money(minor, currency_code),
    )
