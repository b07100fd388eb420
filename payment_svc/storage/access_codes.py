"""The repository of access codes and their audit."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, cast, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_code_events import AuditEntry
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus, Hold
from payment_svc.storage import tables
from payment_svc.storage.saving import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import after

_COLUMNS = [column.name for column in tables.access_codes.columns]
_table = tables.access_codes


class SqlAccessCodes:
    """The access codes and their audit."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def order_of(self, access_code_id: str) -> str:
        """The order that a code belongs to, for good; raises AccessCodeNotFound."""
        statement = select(_table.c.order_id).where(_table.c.id == access_code_id)
        order_id: str | None = await self._connection.scalar(statement)
        if order_id is None:
            raise AccessCodeNotFound(f"no access code {access_code_id}")
        return order_id

    async def get(self, access_code_id: str) -> AccessCode:
        """One code, locked; raises AccessCodeNotFound."""
        codes = await self.get_many([access_code_id])
        if access_code_id not in codes:
            raise AccessCodeNotFound(f"no access code {access_code_id}")
        return codes[access_code_id]

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        """Those that exist, by id, locked in the order of their ids."""
        statement = select(_table).where(_table.c.id.in_(ids)).order_by(_table.c.id)
        return {code.id: code for code in await self._all(statement.with_for_update())}

    async def lapsed(self, now: datetime, limit: int) -> Sequence[AccessCode]:
        """Live codes past their time, locked; without those that others have locked."""
        statement = (
            select(_table)
            .where(_table.c.status.in_(["ACTIVE", "SUSPENDED"]), _table.c.expire_at <= now)
            .order_by(_table.c.expire_at)
            .limit(limit)
        )
        return await self._all(statement.with_for_update(skip_locked=True))

    async def find(self, column: str, value: str) -> AccessCode | None:
        """The newest code whose `column` has a value: "id", "code" or "order_id"."""
        statement = select(_table).where(_table.c[column] == value)
        statement = statement.order_by(_table.c.version.desc()).limit(1)
        return next(iter(await self._all(statement)), None)

    async def page(self, order_id: str, status: str, last: str, limit: int) -> Sequence[AccessCode]:
        """Codes after `last`, newest first; "" doesn't restrict."""
        statement: Select[Any] = select(_table)
        if order_id:
            statement = statement.where(_table.c.order_id == order_id)
        if status:
            statement = statement.where(_table.c.status == status)
        return await self._all(after(statement, _table.c.id, last, limit, newest_first=True))

    async def audit_page(self, access_code_id: str, last: str, limit: int) -> Sequence[AuditEntry]:
        """A code's audit after the entry whose place is `last`, oldest first."""
        table = tables.access_code_events
        statement = select(table).where(table.c.access_code_id == access_code_id)
        if last:
            place = func.lpad(cast(table.c.version, Text), 26, "0")
            statement = statement.where(place > last.partition("_")[2])
        rows = await self._connection.execute(statement.order_by(table.c.version).limit(limit))
        return [_entry(row) for row in rows]

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        """Adds or updates, and writes what their audit has new."""
        await upsert(self._connection, _table, [_row(code) for code in codes])
        entries = [asdict(entry) for code in codes for entry in code.audit]
        if entries:
            await self._connection.execute(insert(tables.access_code_events), entries)
        for code in codes:
            code.audit.clear()
        self._collect_events(codes)

    async def _all(self, statement: Select[Any]) -> Sequence[AccessCode]:
        return [access_code(row) for row in await self._connection.execute(statement)]


def _row(code: AccessCode) -> dict[str, Any]:
    return {name: getattr(code, name) for name in _COLUMNS} | {"holds": sorted(code.holds)}


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        access_code_id=row.access_code_id,
        version=row.version,
        changed_at=row.changed_at,
        actor=row.actor,
        before=AccessCodeStatus(row.before) if row.before else None,
        after=AccessCodeStatus(row.after),
        cause_event_id=row.cause_event_id,
        reason=row.reason,
    )


def access_code(row: Any) -> AccessCode:
    """A row of `access_codes` as the aggregate."""
    return AccessCode(
        id=row.id,
        code=row.code,
        order_id=row.order_id,
        product_id=row.product_id,
        expire_at=row.expire_at,
        issued_at=row.issued_at,
        status=AccessCodeStatus(row.status),
        version=row.version,
        redeemed_session_id=row.redeemed_session_id,
        redeemed_at=row.redeemed_at,
        holds=frozenset(map(Hold, row.holds)),
        replaced_by=row.replaced_by,
    )
