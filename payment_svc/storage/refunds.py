"""The repository of refunds, and the queue of those that are to go to the provider."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.refunds import OPEN, Refund, RefundNotFound, RefundStatus
from payment_svc.storage import tables
from payment_svc.storage.saving import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import after

_table = tables.refunds
_OPEN = _table.c.status.in_(sorted(OPEN))
_FIELDS = [name for name in Refund.__dataclass_fields__ if name not in {"amount", "call", "events"}]


class SqlRefunds:
    """The refunds."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get(self, refund_id: str, *, lock: bool = True, only: str | None = None) -> Refund:
        """One refund, if `only` may see it; raises RefundNotFound."""
        statement = _seen_by(select(_table).where(_table.c.refund_id == refund_id), only)
        found = await self._all(statement.with_for_update() if lock else statement)
        if not found:
            raise RefundNotFound(f"no refund {refund_id}")
        return found[0]

    async def get_many(self, ids: Sequence[str]) -> dict[str, Refund]:
        """Those that exist, by id, locked in the order of their ids."""
        statement = select(_table).where(_table.c.refund_id.in_(ids)).order_by(_table.c.refund_id)
        return {one.refund_id: one for one in await self._all(statement.with_for_update())}

    async def find_by_call(self, call: IdempotencyKey) -> Refund | None:
        """The refund that a call created, whatever its body; not locked."""
        by_call = _table.c.caller == call.caller, _table.c.request_id == call.request_id
        found = await self._all(select(_table).where(*by_call))
        return found[0] if found else None

    async def find_open(self, order_ids: Sequence[str]) -> dict[str, Refund]:
        """The orders' refunds of their price without outcome, by order, locked."""
        statement = (
            select(_table)
            .where(_table.c.order_id.in_(order_ids), _OPEN, ~_table.c.surplus)
            .order_by(_table.c.refund_id)
        )
        return {one.order_id: one for one in await self._all(statement.with_for_update())}

    async def take_due(self, pause: timedelta, limit: int) -> Sequence[Refund]:
        """Released refunds that nobody took to the provider for `pause`; they count as taken now.

        Replicas take different ones; one that dies lets go of its own after the pause.
        """
        now = func.now()
        due = (
            select(_table.c.refund_id)
            .where(_OPEN, _table.c.released_at.is_not(None), _table.c.due_at <= now)
            .order_by(_table.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = update(_table).where(_table.c.refund_id.in_(due)).values(due_at=now + pause)
        rows = await self._connection.execute(taken.returning(*_table.columns))
        return [_refund(row) for row in rows]

    async def unanswered(self, asked_before: datetime, limit: int) -> Sequence[Refund]:
        """Refunds that wait for interview's word since it was asked, the longest first."""
        statement = select(_table).where(
            _OPEN, _table.c.released_at.is_(None), _table.c.asked_at <= asked_before
        )
        return await self._all(statement.order_by(_table.c.asked_at).limit(limit))

    async def open_since(self, created_before: datetime, limit: int) -> Sequence[Refund]:
        """Refunds without outcome that were created before a moment, oldest first."""
        statement = select(_table).where(_OPEN, _table.c.created_at <= created_before)
        return await self._all(statement.order_by(_table.c.created_at).limit(limit))

    async def page(
        self,
        order_id: str,
        status: str,
        created_before: datetime | None,
        last: str,
        limit: int,
        *,
        only: str | None,
    ) -> Sequence[Refund]:
        """Refunds after `last`, newest first; "" doesn't restrict. `only` is who may see them.

        With `created_before`, those that have no outcome since.
        """
        statement = _seen_by(select(_table), only)
        if order_id:
            statement = statement.where(_table.c.order_id == order_id)
        if status:
            statement = statement.where(_table.c.status == status)
        if created_before:
            statement = statement.where(_OPEN, _table.c.created_at <= created_before)
        return await self._all(after(statement, _table.c.refund_id, last, limit, newest_first=True))

    async def save(self, refund: Refund) -> None:
        """Adds or updates."""
        row = {name: getattr(refund, name) for name in _FIELDS} | asdict(refund.amount)
        await upsert(self._connection, _table, [row | _call_columns(refund.call)])
        self._collect_events([refund])

    async def _all(self, statement: Select[Any]) -> Sequence[Refund]:
        return [_refund(row) for row in await self._connection.execute(statement)]


def _call_columns(call: IdempotencyKey | None) -> dict[str, str | bytes | None]:
    return asdict(call) if call else dict.fromkeys(IdempotencyKey.__dataclass_fields__)


def _seen_by(statement: Select[Any], customer: str | None) -> Select[Any]:
    """Restricts a query to the refunds of a customer's orders."""
    if customer is None:
        return statement
    orders = tables.orders
    theirs = select(orders.c.order_id).where(orders.c.customer_id == customer)
    return statement.where(_table.c.order_id.in_(theirs))


def _refund(row: Row[Any]) -> Refund:
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
        call=IdempotencyKey(row.caller, row.request_id, row.request_hash) if row.caller else None,
    )
