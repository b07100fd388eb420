"""The copies of access codes, in the transaction they are given."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.cached_code import CachedCode, CodeRecord, CodeStatus, Holder
from interview_svc.storage.tables import cached_codes
from runtime.database.unit_of_work import CollectEvents

_HOLDER = ("customer_id", "email", "display_name", "language_code")


class SqlCachedCodes:
    """The copies of access codes."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CachedCode]:
        """Those that exist, by order, locked in the order of their ids."""
        if not order_ids:
            return {}
        statement = select(cached_codes).where(cached_codes.c.order_id.in_(order_ids))
        statement = statement.order_by(cached_codes.c.order_id).with_for_update()
        return {row.order_id: _entry(row) for row in await self._connection.execute(statement)}

    async def versions(self, order_ids: Sequence[str]) -> dict[str, int]:
        """The versions of those that exist, by order, as they stand."""
        columns = cached_codes.c.order_id, cached_codes.c.version
        statement = select(*columns).where(cached_codes.c.order_id.in_(order_ids))
        return {row.order_id: row.version for row in await self._connection.execute(statement)}

    async def get_by_code(self, code: str) -> CachedCode | None:
        """The entry of a code, locked."""
        statement = select(cached_codes).where(cached_codes.c.code == code).with_for_update()
        row = (await self._connection.execute(statement)).first()
        return _entry(row) if row else None

    async def find_by_code(self, code: str) -> CachedCode | None:
        """The entry of a code, as it stands."""
        statement = select(cached_codes).where(cached_codes.c.code == code)
        row = (await self._connection.execute(statement)).first()
        return _entry(row) if row else None

    async def add_many(self, entries: Sequence[CachedCode]) -> set[str]:
        """Adds those whose order has none yet; returns the orders of those added.

        Waits for another transaction that adds the same orders, so that it can be read then.
        """
        if not entries:
            return set()
        rows = [_row(entry) for entry in entries]
        statement = insert(cached_codes).values(rows)
        statement = statement.on_conflict_do_nothing(index_elements=["order_id"])
        added = await self._connection.execute(statement.returning(cached_codes.c.order_id))
        return set(added.scalars())

    async def save_many(self, entries: Sequence[CachedCode]) -> None:
        """Updates; they are locked."""
        if not entries:
            return
        statement = insert(cached_codes)
        new = statement.excluded
        changed = {
            column.name: new[column.name]
            for column in cached_codes.columns
            if column.name != "order_id"
        }
        statement = statement.on_conflict_do_update(index_elements=["order_id"], set_=changed)
        await self._connection.execute(statement, [_row(entry) for entry in entries])
        self._collect_events(entries)

    async def remove_many(self, order_ids: Sequence[str]) -> None:
        """Forgets orders that payment doesn't know."""
        await self._connection.execute(
            delete(cached_codes).where(cached_codes.c.order_id.in_(order_ids))
        )


def _row(entry: CachedCode) -> dict[str, Any]:
    holder = asdict(entry.holder) if entry.holder else dict.fromkeys(_HOLDER)
    return {**asdict(entry.record), "refunded": entry.refunded, **holder}


def _entry(row: Row[Any]) -> CachedCode:
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
