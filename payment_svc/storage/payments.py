"""The repository of payments, and the queue of those whose outcome has to be queried."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, literal_column, select, union, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement
from payment_svc.domain.money import Money
from payment_svc.domain.payment_errors import PaymentNotFound
from payment_svc.domain.payments import FINAL, Payment, PaymentStatus
from payment_svc.storage.orders import PAST_EXPIRY, of_customer
from payment_svc.storage.tables import orders
from payment_svc.storage.tables import payments as table
from payment_svc.storage.upsert import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import after as entries_after

# Literals, not parameters: the planner has to see that a partial index applies.
_OPEN = table.c.status.in_(
    [literal_column(f"'{status}'") for status in PaymentStatus if status not in FINAL]
)
_BY_ID = select(table).where(table.c.payment_id == bindparam("payment_id"))
_FIND = FixedStatement(_BY_ID)
_LOCK = FixedStatement(_BY_ID.with_for_update())
_FIND_BY_REQUEST = FixedStatement(
    select(table).where(
        table.c.caller == bindparam("caller"), table.c.request_id == bindparam("request_id")
    )
)
_FIND_EXISTING = FixedStatement(
    union(
        select(table).where(
            table.c.caller == bindparam("caller"), table.c.request_id == bindparam("request_id")
        ),
        select(table).where(table.c.order_id == bindparam("order_id"), _OPEN),
    )
)
_FIND_OPEN = FixedStatement(
    select(table).where(table.c.order_id == bindparam("order_id"), _OPEN).limit(1)
)
# All but `due_at`, which only `take_due` changes.
_COLUMNS = [name for name in table.columns.keys() if name != "due_at"]  # noqa: SIM118
_ADD = FixedStatement(
    insert(table)
    .on_conflict_do_nothing(index_elements=["caller", "request_id"])
    .returning(table.c.payment_id),
    _COLUMNS,
)
_UPSERT = upsert(table, _COLUMNS)
_UPDATE_IF_UNCHANGED = FixedStatement(
    update(table)
    .where(
        table.c.payment_id == bindparam("of_payment_id"),
        table.c.status == bindparam("status_read"),
        table.c.updated_at == bindparam("updated_at_read"),
    )
    .values(
        status=bindparam("new_status", type_=table.c.status.type),
        updated_at=bindparam("new_updated_at", type_=table.c.updated_at.type),
    )
    .returning(table.c.payment_id)
)


class SqlPayments:
    """The payments."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(
        self, payment_id: str, *, lock: bool = True, customer_id: str | None = None
    ) -> Payment:
        """Returns a payment, if it is visible to the customer; raises PaymentNotFound."""
        names = {"payment_id": payment_id}
        if customer_id is None:
            payment = await self._first(_LOCK if lock else _FIND, names)
        else:
            statement = of_customer(_BY_ID, table.c.order_id, customer_id)
            statement = statement.with_for_update() if lock else statement
            row = (await self._connection.execute(statement, names)).first()
            payment = _payment(row) if row else None
        if payment is None:
            raise PaymentNotFound(f"no payment {payment_id}")
        return payment

    async def find_unlocked(self, payment_id: str) -> Payment | None:
        """Returns a payment without a lock."""
        return await self._first(_FIND, {"payment_id": payment_id})

    async def find_existing(
        self, order_id: str, caller: str, request_id: str
    ) -> tuple[Payment | None, Payment | None]:
        """The payment that a request created, with any hash, and an open payment of the order.

        Without locks.
        """
        values = {"order_id": order_id, "caller": caller, "request_id": request_id}
        found = [_payment(row) for row in await _FIND_EXISTING.fetch(self._connection, values)]
        request = caller, request_id
        of_request = (p for p in found if (p.caller, p.request_id) == request)
        open_of_order = (p for p in found if p.order_id == order_id and not p.final)
        return next(of_request, None), next(open_of_order, None)

    async def find_open(self, order_id: str) -> Payment | None:
        """Returns a payment of the order without a final outcome."""
        return await self._first(_FIND_OPEN, {"order_id": order_id})

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
        if await _ADD.first(self._connection, _values(payment)) is None:
            request = {"caller": payment.caller, "request_id": payment.request_id}
            [row] = await _FIND_BY_REQUEST.fetch(self._connection, request)
            return _payment(row)
        self._collect_events([payment])
        return payment

    async def save(self, payment: Payment) -> None:
        """Inserts or updates."""
        await _UPSERT.execute(self._connection, _values(payment))
        self._collect_events([payment])

    async def save_if_unchanged(
        self, payment: Payment, status: PaymentStatus, updated_at: datetime
    ) -> bool:
        """Updates the status if the row still has this one and time of change; False otherwise."""
        values = {
            "of_payment_id": payment.payment_id,
            "status_read": status,
            "updated_at_read": updated_at,
            "new_status": payment.status,
            "new_updated_at": payment.updated_at,
        }
        return await _UPDATE_IF_UNCHANGED.first(self._connection, values) is not None

    async def _first(self, statement: FixedStatement, values: Mapping[str, str]) -> Payment | None:
        row = await statement.first(self._connection, values)
        return _payment(row) if row else None


def _values(payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": payment.payment_id,
        "order_id": payment.order_id,
        "amount_minor": payment.amount.amount_minor,
        "currency_code": payment.amount.currency_code,
        "payment_method": payment.payment_method,
        "status": payment.status,
        "failure_reason": payment.failure_reason,
        "captured_minor": payment.captured.amount_minor if payment.captured else None,
        "caller": payment.caller,
        "request_id": payment.request_id,
        "request_hash": payment.request_hash,
        "created_at": payment.created_at,
        "updated_at": payment.updated_at,
    }


def _payment(row: Any) -> Payment:
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
