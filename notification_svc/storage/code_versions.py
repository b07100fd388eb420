"""Code versions in PostgreSQL."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement, any_of
from notification_svc.domain.codes import CodeStatus, CodeVersion
from notification_svc.storage.tables import code_versions as table

_COLUMNS = ("order_id", "version", "status", "access_code_id")
_NEWEST = FixedStatement(select(table).where(table.c.order_id == any_of("order_ids")))


def _upsert_newer() -> FixedStatement:
    statement = insert(table)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[table.c.order_id],
        set_={name: new[name] for name in _COLUMNS[1:]},
        where=new.version > table.c.version,
    )
    return FixedStatement(statement, _COLUMNS)


_UPSERT_NEWER = _upsert_newer()


class SqlCodeVersions:
    """The newest version of each order's access code: one row per order."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def upsert_newer(self, versions: Sequence[CodeVersion]) -> dict[str, CodeVersion]:
        """Stores newer versions; returns the newest by order, locked. No order occurs twice."""
        if not versions:
            return {}
        # In a fixed order: two replicas that update the same would deadlock otherwise.
        ordered = sorted(versions, key=lambda version: version.order_id)
        rows = [{name: getattr(version, name) for name in _COLUMNS} for version in ordered]
        await _UPSERT_NEWER.execute_many(self._connection, rows)
        return await self.newest([version.order_id for version in ordered])

    async def newest(self, order_ids: Collection[str]) -> dict[str, CodeVersion]:
        """The newest version by order, as committed."""
        rows = await _NEWEST.fetch(self._connection, {"order_ids": list(order_ids)})
        return {row.order_id: _version(row) for row in rows}


def _version(row: Any) -> CodeVersion:
    return CodeVersion(row.order_id, row.version, CodeStatus(row.status), row.access_code_id)
