"""Whether the local cache is reliable, as a whole and for one order, in PostgreSQL.

An open dead letter makes the cached code of its order stale: its event may have changed the code.
One that cannot be assigned to an order makes every cached code stale: a watermark, one whose
subject names no order, and one whose body contradicts its subject.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.dead_letters.store import DeadLetterKind
from interview_svc.domain.fallback import CacheFacts
from interview_svc.storage.tables import bus, payment_watermark
from payment.v1 import events_pb2

_dead_letters = bus.dead_letters
_ORDER_ID = "^ord_[0-9A-HJKMNP-TV-Z]{26}$"
_WATERMARK = events_pb2.Watermark.DESCRIPTOR.full_name
_is_open = and_(_dead_letters.c.consumer == "interview", _dead_letters.c.resolution.is_(None))
_is_assigned = and_(
    _dead_letters.c.key.regexp_match(_ORDER_ID),
    _dead_letters.c.event_type != _WATERMARK,
    _dead_letters.c.kind != DeadLetterKind.MISADDRESSED,
)


class SqlFreshness:
    """Reads what the watermarks and the open dead letters say, by the database's clock."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def is_fresh(self, order_id: str, max_staleness: timedelta) -> bool:
        """Whether the cached code of an order is reliable."""
        staleness = func.clock_timestamp() - payment_watermark.c.covered_as_of
        statement = select(staleness <= max_staleness, ~_makes_stale(order_id))
        row = (await self._connection.execute(statement)).first()
        return row is not None and bool(row[0]) and bool(row[1])

    async def read(self) -> tuple[CacheFacts, datetime]:
        """The facts about the cache as a whole, and the database's time."""
        unassigned, order_ids = not_(_is_assigned), func.distinct(_dead_letters.c.key)
        dead = (
            await self._connection.execute(
                select(
                    func.count().filter(unassigned).label("unassigned"),
                    func.min(_dead_letters.c.dead_at).filter(unassigned).label("since"),
                    func.count(order_ids).filter(_is_assigned).label("stale_orders"),
                ).where(_is_open)
            )
        ).one()
        mark = (
            await self._connection.execute(
                select(
                    select(payment_watermark.c.covered_as_of).scalar_subquery().label("covered"),
                    func.clock_timestamp().label("now"),
                )
            )
        ).one()
        return CacheFacts(mark.covered, dead.unassigned, dead.since, dead.stale_orders), mark.now


def _makes_stale(order_id: str) -> ColumnElement[bool]:
    concerns = or_(_dead_letters.c.key == order_id, not_(_is_assigned))
    return exists().where(_is_open, concerns)
