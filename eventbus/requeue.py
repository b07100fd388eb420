"""Publishes events again that were published before: for a broker that lost stored messages.

Rows of `outbox_published` are copied back into the outbox under their own ids and positions. They
are therefore published in their original order and before newer events; an event that is still in
the outbox is not copied; and no event is ever missing from both tables. The relay deletes the copy
once the broker has confirmed it; the original row keeps its time.

A copy keeps its `recorded_at`, so that watermarks fall back to the oldest requeued event. A
watermark states that everything recorded before it is in the stream, which is unknown of an event
that the broker may have lost. A consumer keeps the newest watermark it has received and only gains
no freshness until the copies are published. Watermarks published before the loss are not revoked.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import BigInteger, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.tables import BusTables

# SQLAlchemy has no form of OVERRIDING SYSTEM VALUE.
_COPY = """
INSERT INTO {outbox} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM {published} WHERE {condition} ORDER BY position
ON CONFLICT (position) DO NOTHING
"""


class RepublishTooOld(ValueError):
    """Retention has dropped events that were to be published again."""


class Republisher:
    """Copies published events of one service back into its outbox."""

    def __init__(self, tables: BusTables) -> None:
        self._tables = tables

    async def requeue_since(self, connection: AsyncConnection, moment: datetime) -> int:
        """Requeues what was published at or after a moment; returns the number of requeued events.

        In the caller's transaction, which must roll back if this raises RepublishTooOld.
        """
        statement = text(self._copy("published_at >= :since"))
        count = (await connection.execute(statement, {"since": moment})).rowcount
        # Checked afterwards: retention may have dropped a day just before the rows were read.
        dropped = await connection.scalar(select(self._tables.outbox_dropped.c.dropped_before))
        if dropped is not None and moment < dropped:
            dropped = dropped.astimezone(UTC)
            raise RepublishTooOld(
                f"events published before {dropped:%Y-%m-%dT%H:%MZ} have been dropped"
            )
        return count

    async def requeue(self, connection: AsyncConnection, positions: Sequence[int]) -> None:
        """Requeues the events of some positions, in the caller's transaction."""
        parameter = bindparam("positions", list(positions), ARRAY(BigInteger))
        statement = text(self._copy("position = ANY(:positions)")).bindparams(parameter)
        await connection.execute(statement)

    def _copy(self, condition: str) -> str:
        outbox, published = self._tables.outbox, self._tables.outbox_published
        columns = ", ".join(
            column.name for column in outbox.columns if column.name in published.columns
        )
        return _COPY.format(
            outbox=outbox, published=published, columns=columns, condition=condition
        )
