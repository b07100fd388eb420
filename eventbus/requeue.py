"""Publishing again what was published before: for a broker that lost what it had taken.

Rows of `outbox_published` are copied back into the outbox under their own ids and positions. So
they go out in their old order and before whatever is newer; one that waits already isn't put there
twice; and none is ever missing from both tables. The relay drops the copy once the broker has it:
the original, with its time, stays where it was.

A copy keeps its `recorded_at`. Watermarks therefore fall back to the oldest event that is to be
published again. A watermark says that all that was recorded before it stands in the stream, and of
an event that the broker may have lost nobody knows that: "now" would promise too much to a
listener. The old time promises nothing new: a listener that keeps the newest time it was told, as
it should, only grows no fresher until the copies are out. It also takes nothing back: what was
promised before the loss, that listener goes on believing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import BigInteger, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.tables import BusTables

_PUT_BACK = """
INSERT INTO {outbox} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM {published} WHERE {which} ORDER BY position
ON CONFLICT (position) DO NOTHING
"""


class RepublishTooOld(ValueError):
    """What was published so long ago isn't kept any more."""


class Republisher:
    """Puts published events of one service back into its outbox."""

    def __init__(self, tables: BusTables) -> None:
        self._tables = tables

    async def since(self, connection: AsyncConnection, moment: datetime) -> int:
        """Puts back what was published at or after a moment; how many didn't wait already.

        In the caller's transaction. Raises RepublishTooOld: it must be rolled back then.
        """
        statement = text(self._put_back("published_at >= :since"))
        count = (await connection.execute(statement, {"since": moment})).rowcount
        # Afterwards: retention may have dropped a day just before the rows were read.
        dropped = await connection.scalar(select(self._tables.outbox_dropped.c.dropped_before))
        if dropped is not None and moment < dropped:
            dropped = dropped.astimezone(UTC)
            raise RepublishTooOld(f"what was published before {dropped:%Y-%m-%dT%H:%MZ} is dropped")
        return count

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
