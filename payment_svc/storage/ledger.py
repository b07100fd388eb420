"""The ledger check in one SQL statement, so that it sees one consistent moment."""

from typing import Any

from sqlalchemy import Row, Select, case, func, literal, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from payment_svc.storage import tables
from payment_svc.use_cases.ledger import MAX_IMBALANCES, LedgerEntry, LedgerReport

# Spelled out, so that the check does not depend on the domain code that it verifies.
_PAID = ("PAID", "PARTIALLY_REFUNDED", "REFUND_PENDING", "REFUNDED")
_AMOUNTS = ("captured", "refunded", "backing", "owed")


class SqlLedger:
    """Implements `Ledger`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def check(self, order_id: str, limit: int = MAX_IMBALANCES) -> LedgerReport:
        """Checks one order, or all (""); reports up to `limit` imbalances."""
        per_order = _per_order(order_id).cte("per_order")
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
        rows = (await self._connection.execute(union_all(select(imbalances), totals))).all()
        total_rows = [row for row in rows if not row.order_id]
        return LedgerReport(
            checked_count=sum(row.orders for row in total_rows),
            imbalances=[_entry(row) for row in rows if row.order_id],
            totals=[_entry(row) for row in total_rows],
        )


def _per_order(order_id: str) -> Select[Any]:
    orders, captured, refunds = tables.orders, _captured(order_id), _refunds(order_id)
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
        .where(_matches(orders.c.order_id, order_id))
    )


def _captured(order_id: str) -> Any:
    payments = tables.payments
    return (
        select(payments.c.order_id, func.sum(payments.c.captured_minor).label("captured"))
        .where(_matches(payments.c.order_id, order_id))
        .group_by(payments.c.order_id)
        .subquery()
    )


def _refunds(order_id: str) -> Any:
    refunds = tables.refunds
    amount, succeeded = refunds.c.amount_minor, refunds.c.status == "SUCCEEDED"
    return (
        select(
            refunds.c.order_id,
            func.sum(amount).filter(succeeded).label("refunded"),
            func.sum(amount).filter(~succeeded, refunds.c.surplus).label("owed"),
        )
        .where(_matches(refunds.c.order_id, order_id))
        .group_by(refunds.c.order_id)
        .subquery()
    )


def _matches(column: ColumnElement[str], order_id: str) -> ColumnElement[bool]:
    return column == order_id if order_id else true()


def _entry(row: Row[Any]) -> LedgerEntry:
    captured, refunded, backing, owed = (int(getattr(row, name)) for name in _AMOUNTS)
    return LedgerEntry(row.order_id, row.currency_code, captured, refunded, backing, owed)
