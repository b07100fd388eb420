"""The repository of refunds, and the queue of those that are submitted to the provider."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement, any_of
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.refund_errors import RefundNotFound
from payment_svc.domain.refunds import OPEN, Refund, RefundStatus
from payment_svc.storage.orders import of_customer
from payment_svc.storage.tables import refunds as table
from payment_svc.storage.upsert import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import newest_of_status

# Literals, not parameters: the planner has to see that a partial index applies.
_OPEN = table.c.status.in_([literal_column(f"'{status}'") for status in sorted(OPEN)])
_FIELDS = [
    name
    for name in Refund.__dataclass_fields__
    if name not in {"amount", "idempotency_key", "events"}
]
_LOCK_MANY = FixedStatement(
    select(table)
    .where(table.c.refund_id == any_of("ids"))
    .order_by(table.c.refund_id)
    .with_for_update()
)
_LOCK_OPEN_BY_ORDER = FixedStatement(
    select(table)
    .where(table.c.order_id == any_of("order_ids"), _OPEN, ~table.c.surplus)
    .order_by(table.c.refund_id)
    .with_for_update()
)
# All but `due_at`, which only `take_due` changes.
_UPSERT = upsert(table, [name for name in table.columns.keys() if name != "due_at"])  # noqa: SIM118


class SqlRefunds:
    """The refunds."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(
        self, refund_id: str, *, lock: bool = True, customer_id: str | None = None
    ) -> Refund:
        """Returns a refund, if it is visible to the customer; raises RefundNotFound."""
        statement = select(table).where(table.c.refund_id == refund_id)
        statement = of_customer(statement, table.c.order_id, customer_id)
        refunds = await self._all(statement.with_for_update() if lock else statement)
        if not refunds:
            raise RefundNotFound(f"no refund {refund_id}")
        return refunds[0]

    async def get_many(self, ids: Sequence[str]) -> dict[str, Refund]:
        """Locks the existing refunds, sorted by id, and returns them by id."""
        rows = await _LOCK_MANY.fetch(self._connection, {"ids": list(ids)})
        return {row.refund_id: _refund(row) for row in rows}

    async def find_by_idempotency_key(self, key: IdempotencyKey) -> Refund | None:
        """Returns the refund of a caller and request id, with any hash, without a lock."""
        matches = table.c.caller == key.caller, table.c.request_id == key.request_id
        refunds = await self._all(select(table).where(*matches))
        return refunds[0] if refunds else None

    async def get_open_by_order(self, order_ids: Sequence[str]) -> dict[str, Refund]:
        """Locks and returns the open refunds of the orders' price, by order id."""
        rows = await _LOCK_OPEN_BY_ORDER.fetch(self._connection, {"order_ids": list(order_ids)})
        return {row.order_id: _refund(row) for row in rows}

    async def take_due(self, pause: timedelta, limit: int) -> Sequence[Refund]:
        """Takes released, open refunds that were not taken for `pause`, longest due first.

        Replicas take different refunds. Those of a replica that crashes are due again after the
        pause.
        """
        now = func.now()
        due = (
            select(table.c.refund_id)
            .where(_OPEN, table.c.released_at.is_not(None), table.c.due_at <= now)
            .order_by(table.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = update(table).where(table.c.refund_id.in_(due)).values(due_at=now + pause)
        rows = await self._connection.execute(taken.returning(*table.columns))
        return [_refund(row) for row in rows]

    async def find_unanswered(self, asked_before: datetime, limit: int) -> Sequence[Refund]:
        """Waiting refunds whose last request is from before a moment, oldest request first."""
        statement = select(table).where(
            _OPEN, table.c.released_at.is_(None), table.c.asked_at <= asked_before
        )
        return await self._all(statement.order_by(table.c.asked_at).limit(limit))

    async def find_open(self, created_before: datetime, limit: int) -> Sequence[Refund]:
        """Open refunds that were created before a moment, oldest first."""
        statement = select(table).where(_OPEN, table.c.created_at <= created_before)
        return await self._all(statement.order_by(table.c.created_at).limit(limit))

    async def page(
        self,
        order_id: str,
        status: str,
        created_before: datetime | None,
        after: str,
        limit: int,
        *,
        customer_id: str | None,
    ) -> Sequence[Refund]:
        """Refunds after the id `after`, newest first, if visible to the customer.

        "" does not filter. With `created_before`, only open refunds created before it.
        """
        statement = of_customer(select(table), table.c.order_id, customer_id)
        if order_id:
            statement = statement.where(table.c.order_id == order_id)
        if created_before:
            statement = statement.where(_OPEN, table.c.created_at <= created_before)
        status_filter = table.c.status, status
        # Of the open ones, which are few, too: by an index on them.
        of_one = customer_id is not None or bool(order_id or created_before)
        statement = newest_of_status(
            statement, table.c.refund_id, after, limit, status_filter, of_one=of_one
        )
        return await self._all(statement)

    async def save(self, refund: Refund) -> None:
        """Inserts or updates."""
        row = {name: getattr(refund, name) for name in _FIELDS} | asdict(refund.amount)
        await _UPSERT.execute(self._connection, row | _key_columns(refund.idempotency_key))
        self._collect_events([refund])

    async def _all(self, statement: Select[Any]) -> Sequence[Refund]:
        return [_refund(row) for row in await self._connection.execute(statement)]


def _key_columns(key: IdempotencyKey | None) -> dict[str, str | bytes | None]:
    return asdict(key) if key else dict.fromkeys(IdempotencyKey.__dataclass_fields__)


def _refund(row: Any) -> Refund:
    key = IdempotencyKey(row.caller, row.request_id, row.request_hash) if row.caller else None
    return Refund(
        refund_id=row.refund_id,
        order_id=row.order_id,
        payment_id=row.payment_id,
        amount=Money(row.amount_minor, row.currency_code),
        full=row.full,
        surplus=row.surplus,
        reason=row.reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
        status=RefundStatus(row.status),
        failure_reason=row.failure_reason,
        asks=row.asks,
        asked_at=row.asked_at,
        released_at=row.released_at,
        idempotency_key=key,
    )
