"""The repository of access codes and their audit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, bindparam, cast, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement, any_of
from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_code_events import AuditEntry
from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.access_codes import AccessCode
from payment_svc.storage.tables import access_code_events as audit
from payment_svc.storage.tables import access_codes as table
from payment_svc.storage.upsert import upsert
from runtime.database.unit_of_work import CollectEvents
from runtime.rpc.pagination import newest_of_status

_COLUMNS = [column.name for column in table.columns]
_AUDIT_COLUMNS = [column.name for column in audit.columns]
_ORDER_ID = FixedStatement(select(table.c.order_id).where(table.c.id == bindparam("id")))
_LOCK_MANY = FixedStatement(
    select(table).where(table.c.id == any_of("ids")).order_by(table.c.id).with_for_update()
)
_UPSERT = upsert(table)
_ADD_AUDIT = FixedStatement(insert(audit), _AUDIT_COLUMNS)


class SqlAccessCodes:
    """The access codes and their audit."""

    def __init__(self, connection: AsyncConnection, collect_events: CollectEvents) -> None:
        self._connection, self._collect_events = connection, collect_events

    async def order_id_of(self, access_code_id: str) -> str:
        """Returns the code's order, which never changes; raises AccessCodeNotFound."""
        row = await _ORDER_ID.first(self._connection, {"id": access_code_id})
        if row is None:
            raise AccessCodeNotFound(f"no access code {access_code_id}")
        return str(row.order_id)

    async def get(self, access_code_id: str) -> AccessCode:
        """Locks and returns a code; raises AccessCodeNotFound."""
        codes = await self.get_many([access_code_id])
        if access_code_id not in codes:
            raise AccessCodeNotFound(f"no access code {access_code_id}")
        return codes[access_code_id]

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        """Locks the existing codes, sorted by id, and returns them by id."""
        rows = await _LOCK_MANY.fetch(self._connection, {"ids": list(ids)})
        return {row.id: access_code(row) for row in rows}

    async def get_due_to_expire(self, now: datetime, limit: int) -> Sequence[AccessCode]:
        """Locks and returns ACTIVE or SUSPENDED codes past `expire_at`; skips locked ones."""
        statement = (
            select(table)
            .where(table.c.status.in_(["ACTIVE", "SUSPENDED"]), table.c.expire_at <= now)
            .order_by(table.c.expire_at)
            .limit(limit)
        )
        return await self._all(statement.with_for_update(skip_locked=True))

    async def find_newest(self, column: str, value: str) -> AccessCode | None:
        """Returns the newest code with a value in "id", "code" or "order_id", without a lock."""
        statement = select(table).where(table.c[column] == value)
        statement = statement.order_by(table.c.version.desc()).limit(1)
        return next(iter(await self._all(statement)), None)

    async def page(
        self, order_id: str, status: str, after: str, limit: int
    ) -> Sequence[AccessCode]:
        """Codes after the id `after`, newest first; "" does not filter."""
        statement: Select[Any] = select(table)
        if order_id:
            statement = statement.where(table.c.order_id == order_id)
        status_filter = table.c.status, status
        statement = newest_of_status(
            statement, table.c.id, after, limit, status_filter, of_one=bool(order_id)
        )
        return await self._all(statement)

    async def audit_page(self, access_code_id: str, after: str, limit: int) -> Sequence[AuditEntry]:
        """A code's audit entries after the page key `after`, oldest first."""
        statement = select(audit).where(audit.c.access_code_id == access_code_id)
        if after:
            key = func.lpad(cast(audit.c.version, Text), 26, "0")
            statement = statement.where(key > after.partition("_")[2])
        rows = await self._connection.execute(statement.order_by(audit.c.version).limit(limit))
        return [_entry(row) for row in rows]

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        """Inserts or updates, and appends the new audit entries."""
        await _UPSERT.execute_many(self._connection, [_row(code) for code in codes])
        entries = [
            {name: getattr(entry, name) for name in _AUDIT_COLUMNS}
            for code in codes
            for entry in code.audit
        ]
        await _ADD_AUDIT.execute_many(self._connection, entries)
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
    """Reads a row of `access_codes`."""
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
