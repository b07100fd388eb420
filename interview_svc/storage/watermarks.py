"""How fresh the local cache is, in PostgreSQL: a property of the event stream, not of a code.

A watermark is covered once every event before it in the stream is handled. The newest covered one
is stored, so that a restart during an outage of the broker loses no knowledge.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.storage.tables import payment_watermark, pending_watermarks


class SqlWatermarks:
    """payment's watermarks, in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add_many(self, watermarks: Sequence[tuple[int, datetime]]) -> None:
        """Adds watermarks, each with its stream sequence, as not covered yet."""
        rows: list[dict[str, Any]] = [
            {"stream_sequence": sequence, "as_of": as_of} for sequence, as_of in watermarks
        ]
        added = insert(pending_watermarks)
        # A stream that was recreated gives the sequences of the old one again.
        await self._connection.execute(
            added.on_conflict_do_update(
                index_elements=[pending_watermarks.c.stream_sequence],
                set_={"as_of": added.excluded.as_of},
            ),
            rows,
        )
        newest = max(rows, key=lambda row: row["as_of"])
        stored = payment_watermark.c
        # By sequence too: after a wrong clock, later watermarks state earlier times. One of the
        # future is always replaced: after a wrong clock, the stream may have been recreated too.
        is_newer = or_(
            stored.as_of < newest["as_of"],
            stored.stream_sequence < newest["stream_sequence"],
            stored.as_of > func.clock_timestamp(),
        )
        await self._connection.execute(update(payment_watermark).where(is_newer).values(**newest))

    async def cover(self, ack_floor: int) -> None:
        """Marks the watermarks at or before the stream sequence `ack_floor` as covered."""
        covered = (
            delete(pending_watermarks)
            .where(pending_watermarks.c.stream_sequence <= ack_floor)
            .returning(pending_watermarks.c.as_of)
            .cte("covered")
        )
        newest = select(func.max(covered.c.as_of)).scalar_subquery()
        # A watermark ahead of this database's clock is capped: otherwise it would remain the newest
        # until its time, and the cache would count as fresh until then.
        capped = func.least(newest, func.clock_timestamp())
        await self._connection.execute(
            update(payment_watermark)
            .where(exists().select_from(covered))
            .values(covered_as_of=func.greatest(payment_watermark.c.covered_as_of, capped))
        )

    async def is_warmed_up(self) -> bool:
        """Whether the codes issued before interview consumed payment's events are cached."""
        moment = await self._connection.scalar(select(payment_watermark.c.warmed_up_at))
        return moment is not None

    async def set_warmed_up(self) -> None:
        """Stores that these codes are cached."""
        await self._connection.execute(
            update(payment_watermark).values(warmed_up_at=func.clock_timestamp())
        )

    async def covered_as_of(self) -> datetime | None:
        """The time before which every event that payment committed is handled; None if unknown."""
        statement = select(payment_watermark.c.covered_as_of)
        return (await self._connection.execute(statement)).scalar_one_or_none()
