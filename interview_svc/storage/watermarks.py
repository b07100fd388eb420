"""How fresh the copies of codes are: a property of the feed, not of an entry.

A watermark counts once everything before it in the stream was handled. The newest that counts is
kept, so that a restart while the broker is away loses nothing of what is known.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.dead_letters.store import DeadLetterKind
from interview_svc.storage.tables import bus, payment_watermark, pending_watermarks


class Watermarks:
    """payment's watermarks, in the transaction they are given."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def note_many(self, marks: Sequence[tuple[int, datetime]]) -> None:
        """Notes watermarks, each with its stream sequence; they don't count yet."""
        rows: list[dict[str, Any]] = [
            {"stream_sequence": sequence, "as_of": as_of} for sequence, as_of in marks
        ]
        await self._connection.execute(
            insert(pending_watermarks).values(rows).on_conflict_do_nothing()
        )
        newest = max(rows, key=lambda row: row["stream_sequence"])
        await self._connection.execute(
            update(payment_watermark)
            .where(payment_watermark.c.stream_sequence < newest["stream_sequence"])
            .values(**newest)
        )

    async def cover(self, ack_floor: int) -> None:
        """Lets those count that stand in the stream at or before `ack_floor`."""
        covered = (
            delete(pending_watermarks)
            .where(pending_watermarks.c.stream_sequence <= ack_floor)
            .returning(pending_watermarks.c.as_of)
            .cte("covered")
        )
        newest = select(func.max(covered.c.as_of)).scalar_subquery()
        # Nobody can promise what is yet to come: a moment ahead of our clock would stay the newest
        # until it is past, and copies would count as fresh for as long.
        promised = func.least(newest, func.clock_timestamp())
        await self._connection.execute(
            update(payment_watermark)
            .where(exists().select_from(covered))
            .values(covered_as_of=func.greatest(payment_watermark.c.covered_as_of, promised))
        )

    async def warmed_up(self) -> bool:
        """Whether interview has taken in what payment had before it listened."""
        moment = await self._connection.scalar(select(payment_watermark.c.warmed_up_at))
        return moment is not None

    async def note_warm_up(self) -> None:
        """It has."""
        await self._connection.execute(
            update(payment_watermark).values(warmed_up_at=func.clock_timestamp())
        )

    async def covered_as_of(self) -> datetime | None:
        """The moment before which nothing that payment committed is unheard; None if unknown."""
        statement = select(payment_watermark.c.covered_as_of)
        return (await self._connection.execute(statement)).scalar_one_or_none()

    async def is_fresh(self, order_id: str, most: timedelta) -> bool:
        """Whether the copy of an order's code may be relied on, by the database's clock.

        A dead letter of the order makes its copy stale; one that can't be told to be another
        order's makes every copy stale.
        """
        age = func.clock_timestamp() - payment_watermark.c.covered_as_of
        statement = select(age <= most, ~_dead_letter(order_id))
        row = (await self._connection.execute(statement)).first()
        return row is not None and bool(row[0]) and bool(row[1])


def _dead_letter(order_id: str) -> ColumnElement[bool]:
    letters = bus.dead_letters
    malformed = letters.c.kind == DeadLetterKind.MALFORMED
    return exists().where(
        letters.c.consumer == "interview",
        letters.c.resolution.is_(None),
        or_(letters.c.key.in_(["", order_id]), malformed),
    )
