"""The ledger check: all amounts of an order in one statement, so that it sees one moment."""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Row,
    Select,
    Text,
    bindparam,
    case,
    func,
    literal,
    select,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from eventbus.changed_keys import changed_keys
from payment_svc.storage import tables
from payment_svc.use_cases.ledger import MAX_IMBALANCES, LedgerEntry, LedgerReport
from runtime.batches import batches

# Spelled out, so that the check does not depend on the domain code that it verifies.
_PAID = ("PAID", "PARTIALLY_REFUNDED", "REFUND_PENDING", "REFUNDED")
_AMOUNTS = ("captured", "refunded", "backing", "owed")
_BATCH = 5_000


class SqlLedger:
    """Implements `Ledger`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def check(
        self, order_ids: Collection[str] | None, limit: int = MAX_IMBALANCES
    ) -> LedgerReport:
        """Checks these orders, or all (None); reports up to `limit` imbalances.

        Batch by batch, so that no statement takes longer, the more orders there are.
        """
        checked, imbalances = 0, list[LedgerEntry]()
        totals: dict[str, LedgerEntry] = {}
        async for batch in self._batches(order_ids):
            rows = (await self._connection.execute(_statement(batch, limit))).all()
            checked += sum(row.orders for row in rows)
            imbalances += [_entry(row) for row in rows if row.order_id]
            for total in (_entry(row) for row in rows if not row.order_id):
                before = totals.get(total.currency_code)
                totals[total.currency_code] = _sum(before, total) if before else total
        return LedgerReport(checked, imbalances[:limit], list(totals.values()))

    async def _batches(self, order_ids: Collection[str] | None) -> AsyncIterator[Sequence[str]]:
        if order_ids is not None:
            for batch in batches(sorted(order_ids), _BATCH):
                yield batch
            return
        column, last = tables.orders.c.order_id, ""
        while True:
            statement = select(column).where(column > last).order_by(column).limit(_BATCH)
            page = (await self._connection.execute(statement)).scalars().all()
            yield page
            if len(page) < _BATCH:
                return
            last = page[-1]

    async def changed_since(self, moment: datetime) -> Sequence[str]:
        """The orders whose money, or anything else of them, has changed since a moment.

        Money by the times of payments and refunds: not every change of it has an event.
        """
        payments, refunds = tables.payments, tables.refunds
        captured = payments.c.captured_minor.is_not(None)
        changed = union(
            select(payments.c.order_id).where(captured, payments.c.updated_at >= moment),
            select(refunds.c.order_id).where(refunds.c.updated_at >= moment),
            changed_keys(tables.bus, moment),
        )
        return list((await self._connection.execute(changed)).scalars())


def _statement(order_ids: Sequence[str], limit: int) -> CompoundSelect[Any]:
    """The imbalances of some orders, and their totals by currency: those have no order id."""
    per_order = _per_order(order_ids).cte("per_order")
    columns = per_order.c
    amounts = [columns[name] for name in _AMOUNTS]
    unbalanced = columns.captured - columns.refunded != columns.backing + columns.owed
    imbalances = (
        select(columns.order_id, columns.currency_code, *amounts, literal(0).label("orders"))
        .where(unbalanced)
        .order_by(columns.order_id)
        .limit(limit)
        .subquery()
    )
    sums = [func.sum(amount).label(amount.name) for amount in amounts]
    totals = select(
        literal(""), columns.currency_code, *sums, func.count().label("orders")
    ).group_by(columns.currency_code)
    return union_all(select(imbalances), totals)


def _per_order(order_ids: Sequence[str]) -> Select[Any]:
    orders, captured, refunds = tables.orders, _captured(order_ids), _refunds(order_ids)
    # The order's own amount, so that it is compared with the sum of the refunds.
    backing = orders.c.amount_minor - orders.c.refunded_minor
    return (
        select(
            orders.c.order_id,
            orders.c.currency_code,
            func.coalesce(captured.c.captured, 0).label("captured"),
            func.coalesce(refunds.c.refunded, 0).label("refunded"),
            case((orders.c.status.in_(_PAID), backing), else_=0).label("backing"),
            func.coalesce(refunds.c.owed, 0).label("owed"),
        )
        .outerjoin(captured, captured.c.order_id == orders.c.order_id)
        .outerjoin(refunds, refunds.c.order_id == orders.c.order_id)
        .where(_matches(orders.c.order_id, order_ids))
    )


def _captured(order_ids: Sequence[str]) -> Any:
    payments = tables.payments
    return (
        select(payments.c.order_id, func.sum(payments.c.captured_minor).label("captured"))
        .where(_matches(payments.c.order_id, order_ids))
        .group_by(payments.c.order_id)
        .subquery()
    )


def _refunds(order_ids: Sequence[str]) -> Any:
    refunds = tables.refunds
    amount, succeeded = refunds.c.amount_minor, refunds.c.status == "SUCCEEDED"
    return (
        select(
            refunds.c.order_id,
            func.sum(amount).filter(succeeded).label("refunded"),
            func.sum(amount).filter(~succeeded, refunds.c.surplus).label("owed"),
        )
        .where(_matches(refunds.c.order_id, order_ids))
        .group_by(refunds.c.order_id)
        .subquery()
    )


def _matches(column: ColumnElement[str], order_ids: Sequence[str]) -> ColumnElement[bool]:
    return column == func.any(bindparam("order_ids", order_ids, ARRAY(Text)))


def _sum(one: LedgerEntry, other: LedgerEntry) -> LedgerEntry:
    return LedgerEntry(
        one.order_id,
        one.currency_code,
        one.captured_minor + other.captured_minor,
        one.refunded_minor + other.refunded_minor,
        one.backing_minor + other.backing_minor,
        one.owed_minor + other.owed_minor,
    )


def _entry(row: Row[Any]) -> LedgerEntry:
    captured, refunded, backing, owed = (int(getattr(row, name)) for name in _AMOUNTS)
    return LedgerEntry(row.order_id, row.currency_code, captured, refunded, backing, owed)
