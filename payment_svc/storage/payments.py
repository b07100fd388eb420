"""The repository of payments, and the queue of those whose outcome has to be queried."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.money import Money
from payment_svc.domain.payment_errors import PaymentNotFound
from payment_svc.domain.payments import FINAL, Payment, PaymentStatus
from payment_svc.storage.orders import PAST_EXPIRY, of_customer
from payment_svc.storage.tables import orders
from payment_svc.storage.tables import payments as table
from payment_svc.storage.upsert import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import after as entries_after

_OPEN = table.c.status.in_([status for status in PaymentStatus if status not in FINAL])


class SqlPayments:
    """The payments."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(
        self, payment_id: str, *, lock: bool = True, customer_id: str | None = None
    ) -> Payment:
        """Returns a payment, if it is visible to the customer; raises PaymentNotFound."""
        statement = select(table).where(table.c.payment_id == payment_id)
        statement = of_customer(statement, table.c.order_id, customer_id)
        payment = await self._first(statement.with_for_update() if lock else statement)
        if payment is None:
            raise PaymentNotFound(f"no payment {payment_id}")
        return payment

    async def find_unlocked(self, payment_id: str) -> Payment | None:
        """Returns a payment without a lock."""
        return await self._first(select(table).where(table.c.payment_id == payment_id))

    async def find_by_request(self, caller: str, request_id: str) -> Payment | None:
        """Returns the payment that a request created, with any hash, without a lock."""
        return await self._first(_of_request(caller, request_id))

    async def find_open(self, order_id: str) -> Payment | None:
        """Returns a payment of the order without a final outcome."""
        return await self._first(select(table).where(table.c.order_id == order_id, _OPEN).limit(1))

    async def take_due(self, pause: timedelta, limit: int) -> Sequence[Payment]:
        """Takes open payments, neither created nor taken within `pause`, longest due first.

        Replicas take different payments. Those of a replica that crashes are due again after the
        pause. Nothing but taking a payment postpones it: a customer who repeats a request does not.
        """
        now = func.now()
        due = (
            select(table.c.payment_id)
            .where(_OPEN, table.c.due_at <= now)
            .where(table.c.created_at < now - pause)
            .order_by(table.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = update(table).where(table.c.payment_id.in_(due)).values(due_at=now + pause)
        rows = await self._connection.execute(taken.returning(*table.columns))
        return [_payment(row) for row in rows]

    async def open_of_expiring_orders(self, limit: int) -> list[Payment]:
        """Open payments of unpaid orders past `expire_at`, in random order.

        So those that cannot be closed delay no others for long, and repeated requests for a payment
        do not postpone it.
        """
        statement = (
            select(table)
            .join(orders, orders.c.order_id == table.c.order_id)
            .where(PAST_EXPIRY, _OPEN)
            .order_by(func.random())
            .limit(limit)
        )
        return [_payment(row) for row in await self._connection.execute(statement)]

    async def page(
        self, order_id: str, after: str, limit: int, *, customer_id: str | None
    ) -> list[Payment]:
        """An order's payments after the id `after`, oldest first, if visible to the customer."""
        statement = select(table).where(table.c.order_id == order_id)
        statement = of_customer(statement, table.c.order_id, customer_id)
        statement = entries_after(statement, table.c.payment_id, after, limit, newest_first=False)
        return [_payment(row) for row in await self._connection.execute(statement)]

    async def add(self, payment: Payment) -> Payment:
        """Inserts it; or returns the one that the same request created meanwhile.

        Waits for a transaction that inserts a payment of the same request.
        """
        statement = insert(table).on_conflict_do_nothing(index_elements=["caller", "request_id"])
        inserted = await self._connection.execute(
            statement.values(_values(payment)).returning(table.c.payment_id)
        )
        if inserted.first() is None:
            rows = await self._connection.execute(_of_request(payment.caller, payment.request_id))
            return _payment(rows.one())
        self._collect_events([payment])
        return payment

    async def save(self, payment: Payment) -> None:
        """Inserts or updates."""
        await upsert(self._connection, table, [_values(payment)])
        self._collect_events([payment])

    async def _first(self, statement: Select[Any]) -> Payment | None:
        row = (await self._connection.execute(statement)).first()
        return _payment(row) if row else None


def _of_request(caller: str, request_id: str) -> Select[Any]:
    return select(table).where(table.c.caller == caller, table.c.request_id == request_id)


def _values(payment: Payment) -> dict[str, Any]:
    row = {
        name: getattr(payment, name)
        for name in payment.__dataclass_fields__
        if name not in {"amount", "captured", "events"}
    }
    row["captured_minor"] = payment.captured.amount_minor if payment.captured else None
    return row | asdict(payment.amount)


def _payment(row: Row[Any]) -> Payment:
    captured_minor, currency_code = row.captured_minor, row.currency_code
    return Payment(
        payment_id=row.payment_id,
        order_id=row.order_id,
        amount=Money(row.amount_minor, currency_code),
        payment_method=row.payment_method,
        caller=row.caller,
        request_id=row.request_id,
        request_hash=row.request_hash,
        created_at=row.created_at,
        updated_at=row.updated_at,
        status=PaymentStatus(row.status),
        failure_reason=row.failure_reason,
        captured=None if captured_minor is None else Money(captured_minor, currency_code),
    )
