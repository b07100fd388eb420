"""Code versions in PostgreSQL."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from notification_svc.domain.codes import CodeStatus, CodeVersion
from notification_svc.storage.tables import code_versions as table


class SqlCodeVersions:
    """The newest version of each order's access code: one row per order."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def upsert_newer(self, versions: Sequence[CodeVersion]) -> dict[str, CodeVersion]:
        """Stores newer versions; returns the newest by order, locked. No order occurs twice."""
        if not versions:
            return {}
        statement = insert(table)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.order_id],
            set_={name: new[name] for name in ("version", "status", "access_code_id")},
            where=new.version > table.c.version,
        )
        # In a fixed order: two replicas that update the same would deadlock otherwise.
        ordered = sorted(versions, key=lambda version: version.order_id)
        await self._connection.execute(statement, [asdict(version) for version in ordered])
        return await self.newest([version.order_id for version in ordered])

    async def newest(self, order_ids: Collection[str]) -> dict[str, CodeVersion]:
        """The newest version by order, as committed."""
        statement = select(table).where(table.c.order_id.in_(order_ids))
        return {row.order_id: _version(row) for row in await self._connection.execute(statement)}


def _version(row: Row[Any]) -> CodeVersion:
    return CodeVersion(row.order_id, row.version, CodeStatus(row.status), row.access_code_id)
