"""How far a periodic check has compared, in a row of the service's schema.

So a round compares what has changed since the one before it, and what that one found wrong. It
continues where another replica or process ended. Once a day it compares everything, since a change
that does not show as such, for instance by hand, is found in no other way.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, DateTime, MetaData, Table, Text, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

# Longer than a transaction of a service: its statements end after 30 seconds, and its idle
# transactions too. What commits late is compared in a later round nevertheless.
OVERLAP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """A check's state after a round.

    `compared_until` is when the last round began and `full_at` when the last full one did, by the
    database's clock, None before the first. `findings` are ids of what the last round found wrong.
    `position` is where a check that compares a part in each round continues.
    """

    compared_until: datetime | None = None
    full_at: datetime | None = None
    findings: Sequence[str] = ()
    position: str = ""

    def is_full_due(self, now: datetime, hour: int) -> bool:
        """Whether no full round began since it was last `hour` o'clock (UTC)."""
        last = now.replace(hour=hour, minute=0, second=0, microsecond=0)
        last = last if last <= now else last - timedelta(days=1)
        return self.full_at is None or self.compared_until is None or self.full_at < last

    def since(self) -> datetime:
        """The moment since which changes have to be compared; requires an earlier round."""
        if self.compared_until is None:
            raise ValueError("nothing was compared before: a full round is due")
        return self.compared_until - OVERLAP


class CheckProgressStore:
    """The progress of a service's checks, in the caller's transaction."""

    def __init__(self, connection: AsyncConnection, table: Table) -> None:
        self._connection, self._table = connection, table

    async def load(self, check: str) -> CheckProgress:
        """The progress of a check; that of a new one if it has none."""
        table = self._table
        columns = [table.c[name] for name in CheckProgress.__dataclass_fields__]
        statement = select(*columns).where(table.c.name == check)
        row = (await self._connection.execute(statement)).mappings().first()
        return CheckProgress(**row) if row else CheckProgress()

    async def save(self, check: str, progress: CheckProgress) -> None:
        """Stores the progress of a check."""
        values = asdict(progress) | {"findings": list(progress.findings)}
        statement = insert(self._table).values(name=check, **values)
        await self._connection.execute(
            statement.on_conflict_do_update(index_elements=[self._table.c.name], set_=values)
        )


def define_table(metadata: MetaData) -> Table:
    """The table of progress, in a service's schema."""
    return Table(
        "check_progress",
        metadata,
        Column("name", Text, primary_key=True),
        Column("compared_until", DateTime(timezone=True)),
        Column("full_at", DateTime(timezone=True)),
        Column("findings", ARRAY(Text), nullable=False, server_default="{}"),
        Column("position", Text, nullable=False, server_default=""),
    )


def create(connection: Connection, schema: str) -> None:
    """Creates the table in a migration."""
    define_table(MetaData(schema=schema)).create(connection)
