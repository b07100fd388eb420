"""The payments and refunds without a final outcome, and quarantined notifications."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Float, Table, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.payments import FINAL, PaymentStatus
from payment_svc.domain.refunds import OPEN
from payment_svc.domain.settlement import SettlementStatus, Unresolved, Unsettled
from payment_svc.storage.provider_notifications import UNRESOLVED
from payment_svc.storage.tables import payments, provider_notifications, refunds

_OPEN_PAYMENTS = payments.c.status.in_([status for status in PaymentStatus if status not in FINAL])
_OPEN_REFUNDS = refunds.c.status.in_(sorted(OPEN))


class SqlSettlement:
    """Counts by the partial indexes of what is open."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read(self, overdue_before: datetime) -> SettlementStatus:
        """The current numbers; refunds created before `overdue_before` are overdue."""
        waiting = refunds.c.released_at.is_(None)
        overdue = refunds.c.created_at <= overdue_before
        return SettlementStatus(
            payments=await self._count(payments, [_OPEN_PAYMENTS]),
            refunds_waiting_for_interview=await self._count(
                refunds, [_OPEN_REFUNDS, waiting], overdue
            ),
            refunds_waiting_for_provider=await self._count(
                refunds, [_OPEN_REFUNDS, ~waiting], overdue
            ),
            notifications=await self._unresolved(),
        )

    async def _unresolved(self) -> Unresolved:
        oldest = func.min(provider_notifications.c.received_at)
        statement = select(func.count().label("count"), _age(oldest).label("oldest_seconds")).where(
            UNRESOLVED
        )
        return Unresolved(**(await self._connection.execute(statement)).mappings().one())

    async def _count(
        self,
        table: Table,
        matches: list[ColumnElement[bool]],
        overdue: ColumnElement[bool] | None = None,
    ) -> Unsettled:
        unknown = table.c.status == PaymentStatus.UNKNOWN
        statement = select(
            func.count().label("count"),
            _age(func.min(table.c.created_at)).label("oldest_seconds"),
            func.count().filter(unknown).label("unknown"),
            _age(func.min(table.c.created_at).filter(unknown)).label("oldest_unknown_seconds"),
        )
        if overdue is not None:
            statement = statement.add_columns(func.count().filter(overdue).label("overdue"))
        rows = await self._connection.execute(statement.where(*matches))
        return Unsettled(**rows.mappings().one())


def _age(moment: ColumnElement[Any]) -> ColumnElement[float]:
    age = func.extract("epoch", func.clock_timestamp() - moment)
    return cast(func.coalesce(age, 0), Float)
