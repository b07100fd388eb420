"""Publishing again what was published before: for a broker that lost what it had taken.

Rows of `outbox_published` are copied back into the outbox under their own ids and positions. So
they go out in their old order and before whatever is newer; one that waits already isn't put there
twice; and none is ever missing from both tables. The relay drops the copy once the broker has it:
the original, with its time, stays where it was.

A copy keeps its `recorded_at`. Watermarks therefore fall back to the oldest event that is to be
published again. A watermark says that all that was recorded before it stands in the stream, and of
an event that the broker may have lost nobody knows that: "now" would promise too much to a
listener, the old time promises too little for a moment, which costs it freshness only.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.schema import BusTables

_PUT_BACK = """
INSERT INTO {outbox} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM {published} WHERE {which} ORDER BY position
ON CONFLICT (position) DO NOTHING
"""
_OLDEST_DAY = """
SELECT min(to_date(right(child.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
WHERE inhparent = CAST(:published AS regclass) AND child.relname ~ '_[0-9]{8}$'
"""


class RepublishTooOld(ValueError):
    """What was published so long ago isn't kept any more."""


class Republishing:
    """Puts published events of one service back into its outbox."""

    def __init__(self, tables: BusTables) -> None:
        self._tables = tables

    async def since(self, connection: AsyncConnection, moment: datetime) -> int:
        """Puts back what was published at or after a moment; how many didn't wait already.

        In the caller's transaction. Raises RepublishTooOld.
        """
        kept = await self._kept_since(connection)
        if kept is not None and moment < kept:
            raise RepublishTooOld(f"what was published before {kept:%Y-%m-%dT%H:%MZ} is dropped")
        statement = text(self._put_back("published_at >= :since"))
        return (await connection.execute(statement, {"since": moment})).rowcount

    async def these(self, connection: AsyncConnection, positions: Sequence[int]) -> None:
        """Puts back the events of some positions, in the caller's transaction."""
        chosen = bindparam("positions", list(positions), ARRAY(BigInteger))
        statement = text(self._put_back("position = ANY(:positions)")).bindparams(chosen)
        await connection.execute(statement)

    def _put_back(self, which: str) -> str:
        outbox, published = self._tables.outbox, self._tables.outbox_published
        columns = ", ".join(
            column.name for column in outbox.columns if column.name in published.columns
        )
        return _PUT_BACK.format(outbox=outbox, published=published, columns=columns, which=which)

    async def _kept_since(self, connection: AsyncConnection) -> datetime | None:
        """From when on all that was published is kept; None if nothing was ever dropped."""
        published = self._tables.outbox_published
        first = await connection.scalar(select(func.min(published.c.position)))
        if first == 1:
            return None
        oldest: datetime | None = await connection.scalar(
            text(_OLDEST_DAY), {"published": str(published)}
        )
        return oldest
