"""The local cache of access codes, in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, Text, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.bulk_insert import do_update, insert_rows
from interview_svc.domain.cached_code import CachedCode, CodeRecord, CodeStatus, Holder
from interview_svc.storage.tables import cached_codes
from runtime.database.unit_of_work import CollectEvents

_RECORD = [column.name for column in fields(CodeRecord)]
_HOLDER = ("customer_id", "email", "display_name", "language_code")
# Built once: to build a statement costs more than to execute it.
_LOCK = (
    select(cached_codes)
    .where(cached_codes.c.order_id == func.any(bindparam("order_ids", type_=ARRAY(Text))))
    .order_by(cached_codes.c.order_id)
    .with_for_update()
)


class SqlCachedCodes:
    """The cached codes of one transaction."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CachedCode]:
        """Locks and returns the existing cached codes, by order, in the order of their ids."""
        if not order_ids:
            return {}
        rows = await self._connection.execute(_LOCK, {"order_ids": order_ids})
        return {row.order_id: _cached_code(row) for row in rows}

    async def versions(self, order_ids: Sequence[str]) -> dict[str, int]:
        """The versions of the existing cached codes, by order, without locks."""
        columns = cached_codes.c.order_id, cached_codes.c.version
        statement = select(*columns).where(cached_codes.c.order_id.in_(order_ids))
        return {row.order_id: row.version for row in await self._connection.execute(statement)}

    async def get_by_code(self, code: str, *, lock: bool = True) -> CachedCode | None:
        """Returns the cached code with this code text, locked by default."""
        statement = select(cached_codes).where(cached_codes.c.code == code)
        statement = statement.with_for_update() if lock else statement
        row = (await self._connection.execute(statement)).first()
        return _cached_code(row) if row else None

    async def add_many(self, cached: Sequence[CachedCode]) -> set[str]:
        """Inserts those whose order has none yet; returns the order ids of the inserted ones.

        Waits for a concurrent transaction that inserts the same orders, so that the caller can
        then lock them.
        """
        rows = [_row(code) for code in cached]
        conflict = "ON CONFLICT (order_id) DO NOTHING"
        return await insert_rows(
            self._connection, cached_codes, rows, conflict, returning="order_id"
        )

    async def save_many(self, cached: Sequence[CachedCode]) -> None:
        """Updates locked cached codes."""
        rows = [_row(code) for code in cached]
        await insert_rows(self._connection, cached_codes, rows, do_update(cached_codes, "order_id"))
        self._collect_events(cached)

    async def delete_many(self, order_ids: Sequence[str]) -> None:
        """Deletes the cached codes of orders."""
        await self._connection.execute(
            delete(cached_codes).where(cached_codes.c.order_id.in_(order_ids))
        )


def _row(cached: CachedCode) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(cached.record, name) for name in _RECORD}
    holder = {name: getattr(cached.holder, name, None) for name in _HOLDER}
    return {**record, "refunded": cached.refunded, **holder}


def _cached_code(row: Row[Any]) -> CachedCode:
    record = CodeRecord(
        order_id=row.order_id,
        access_code_id=row.access_code_id,
        code=row.code,
        status=CodeStatus(row.status),
        expire_at=row.expire_at,
        version=row.version,
        product_id=row.product_id,
    )
    if row.customer_id is None:
        return CachedCode(record, refunded=row.refunded)
    holder = Holder(row.customer_id, row.email, row.display_name, row.language_code)
    return CachedCode(record, holder, row.refunded)
