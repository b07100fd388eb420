"""payment's repositories: rows to aggregates and back, in the transaction they are given."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, Table, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderNotFound, OrderStatus, Recipient
from payment_svc.domain.payments import FINAL, Payment, PaymentNotFound, PaymentStatus
from payment_svc.domain.products import Catalogue, Product
from payment_svc.storage import tables
from runtime.paging import after

_OPEN = [status for status in PaymentStatus if status not in FINAL]


async def _save(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Adds rows, or updates those whose primary key exists."""
    if not rows:
        return
    statement = upsert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=changed), rows
    )


class ProductRows:
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


class OrderRows:
    """The orders."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, order_id: str, *, lock: bool = True) -> Order:
        """One order; raises OrderNotFound."""
        statement = select(tables.orders).where(tables.orders.c.order_id == order_id)
        statement = statement.with_for_update() if lock else statement
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise OrderNotFound(f"no order {order_id}")
        return _order(row)

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
        }
        await _save(self._connection, tables.orders, [row])


class PaymentRows:
    """The payments."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, payment_id: str, *, lock: bool = True, only: str | None = None) -> Payment:
        """One payment, if `only` may see it; raises PaymentNotFound."""
        statement = select(tables.payments).where(tables.payments.c.payment_id == payment_id)
        statement = _seen_by(statement, only)
        statement = statement.with_for_update() if lock else statement
        if (row := (await self._connection.execute(statement)).first()) is None:
            raise PaymentNotFound(f"no payment {payment_id}")
        return _payment(row)

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

    async def open_since(self, age: timedelta, limit: int) -> list[Payment]:
        """Payments without outcome that have not changed for `age`, oldest first."""
        table = tables.payments
        statement = (
            select(table)
            .where(table.c.status.in_(_OPEN), table.c.updated_at < func.now() - age)
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
            if name != "amount"
        }
        await _save(self._connection, tables.payments, [row | asdict(payment.amount)])


def _seen_by(statement: Select[Any], customer: str | None) -> Select[Any]:
    """Restricts a query of payments to those for a customer's orders."""
    if customer is None:
        return statement
    orders = tables.orders
    theirs = select(orders.c.order_id).where(orders.c.customer_id == customer)
    return statement.where(tables.payments.c.order_id.in_(theirs))


_CODE_COLUMNS = [column.name for column in tables.access_codes.columns]


class AccessCodeRows:
    """The access codes and their audit."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        """Those that exist, by id, locked in the order of their ids."""
        table = tables.access_codes
        statement = select(table).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update()
        return {row.id: access_code(row) for row in await self._connection.execute(statement)}

    async def find(self, column: str, value: str) -> AccessCode | None:
        """The newest code whose `column` has a value: "id", "code" or "order_id"."""
        table = tables.access_codes
        statement = select(table).where(table.c[column] == value)
        row = (await self._connection.execute(statement.order_by(table.c.version.desc()))).first()
        return access_code(row) if row else None

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        """Adds or updates, and writes what their audit has new."""
        rows = [{name: getattr(code, name) for name in _CODE_COLUMNS} for code in codes]
        await _save(self._connection, tables.access_codes, rows)
        entries = [asdict(entry) for code in codes for entry in code.audit]
        if entries:
            await self._connection.execute(insert(tables.access_code_events), entries)


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
    )


def _payment(row: Row[Any]) -> Payment:
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
    )


def access_code(row: Any) -> AccessCode:
    """A row of `access_codes` as the aggregate."""
    expire_at: datetime = row.expire_at
    return AccessCode(
        id=row.id,
        code=row.code,
        order_id=row.order_id,
        product_id=row.product_id,
        expire_at=expire_at,
        issued_at=row.issued_at,
        status=AccessCodeStatus(row.status),
        version=row.version,
        redeemed_session_id=row.redeemed_session_id,
        redeemed_at=row.redeemed_at,
    )
