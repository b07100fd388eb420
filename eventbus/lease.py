"""Leases: of a service's replicas, one relays its outbox, and one runs each of its checks."""

from datetime import timedelta

from sqlalchemy import CTE, Exists, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from eventbus.tables import BusTables


class Lease:
    """One process's hold on a lease; that of a killed process expires, by the database's clock."""

    def __init__(self, tables: BusTables, name: str, seconds: float) -> None:
        self.holder = str(ULID())
        self._table, self._name = tables.relay_lease, name
        self._duration = timedelta(seconds=seconds)

    async def acquire(self, connection: AsyncConnection) -> bool:
        """Takes or renews the lease; False while another process holds it."""
        lease = self._table
        expires_at = func.clock_timestamp() + self._duration
        statement = insert(lease).values(name=self._name, holder=self.holder, expires_at=expires_at)
        statement = statement.on_conflict_do_update(
            index_elements=[lease.c.name],
            set_={"holder": self.holder, "expires_at": expires_at},
            where=or_(lease.c.holder == self.holder, lease.c.expires_at < func.clock_timestamp()),
        )
        return (await connection.execute(statement.returning(lease.c.name))).first() is not None

    async def release(self, connection: AsyncConnection) -> None:
        """Gives the lease back, unless another process has taken it."""
        statement = delete(self._table).where(self._table.c.holder == self.holder)
        await connection.execute(statement)

    async def is_held(self, connection: AsyncConnection) -> bool:
        """Whether no other process has taken the lease."""
        return bool((await connection.execute(select(self.held()))).scalar_one())

    def held(self) -> Exists:
        """The condition that no other process has taken the lease."""
        return exists().where(self._table.c.holder == self.holder)

    def locked(self) -> CTE:
        """The lease row, locked until the transaction ends; empty if another process has it."""
        lease = self._table
        statement = select(lease.c.name).where(lease.c.holder == self.holder)
        return statement.with_for_update().cte("held_lease")


class RelayLease(Lease):
    """The lease of a service's relay: one publishes at a time."""

    def __init__(self, tables: BusTables, seconds: float) -> None:
        super().__init__(tables, "relay", seconds)
