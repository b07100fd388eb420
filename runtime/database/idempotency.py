"""Idempotency: the first reply to a `request_id` is stored and returned to every repeat.

Guarantee: the reply is stored in the transaction of the effect. A repeat with the same body gets
it byte for byte; of two concurrent requests one has an effect, since the claim of the second waits
for the first.

Replies are kept for 30 days; a repeat after that is a new request. Effects that must never be
repeated store their own request permanently, as payment's payments and refunds do.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventbus.fixed_statement import FixedStatement

Reply = TypeVar("Reply", bound=Message)
RETENTION = timedelta(days=30)
_BATCH = 5_000
_KEY = ("caller", "method", "request_id")


class RequestIdReused(Exception):
    """The request_id was used before with a different request."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request_id {request_id} was used before with a different request")


def define_table(metadata: MetaData) -> Table:
    """The table of replies, in a service's schema."""
    return Table(
        "request_replies",
        metadata,
        Column("caller", Text),
        Column("method", Text),
        Column("request_id", Text),
        Column("request_hash", LargeBinary, nullable=False),
        Column("reply", LargeBinary),
        Column(
            "created_at",
            DateTime(timezone=True),
            server_default=func.now(),
            nullable=False,
        ),
        PrimaryKeyConstraint("caller", "method", "request_id"),
        Index("request_replies_created_at_idx", "created_at"),
    )


def create(connection: Connection, schema: str) -> None:
    """Creates the table in a migration."""
    define_table(MetaData(schema=schema)).create(connection)


class IdempotencyStore:
    """Stored replies of one service."""

    def __init__(self, table: Table, engine: AsyncEngine) -> None:
        self._table, self._engine = table, engine
        key = [column == bindparam(f"of_{column.name}") for column in table.primary_key]
        self._find = FixedStatement(select(table.c.request_hash, table.c.reply).where(*key))
        claim = insert(table).on_conflict_do_nothing().returning(table.c.request_id)
        self._claim = FixedStatement(claim, [*_KEY, "request_hash"])
        reply = bindparam("new_reply", type_=LargeBinary)
        self._store = FixedStatement(update(table).where(*key).values(reply=reply))

    async def find(
        self, connection: AsyncConnection, caller: str, request: Message, reply: type[Reply]
    ) -> Reply | None:
        """The stored reply to a request, if any; raises RequestIdReused."""
        key = _key_of(caller, request, reply)
        row = await self._find.first(connection, {f"of_{name}": key[name] for name in _KEY})
        if row is None:
            return None
        if row.request_hash != hash_of(request):
            raise RequestIdReused(_request_id(request))
        return reply.FromString(row.reply) if row.reply is not None else None

    async def run_once(
        self,
        connection: AsyncConnection,
        caller: str,
        request: Message,
        reply: type[Reply],
        work: Callable[[], Awaitable[Reply]],
    ) -> Reply:
        """Runs `work` unless the request has a stored reply; in the caller's transaction.

        If `work` raises, the transaction and with it the claim roll back: nothing is stored.
        Raises RequestIdReused.
        """
        key = _key_of(caller, request, reply)
        claim = {**key, "request_hash": hash_of(request)}
        if await self._claim.first(connection, claim) is None:
            stored = await self.find(connection, caller, request, reply)
            if stored is not None:
                return stored
        result = await work()
        stored_reply = result.SerializeToString(deterministic=True)
        where = {f"of_{name}": key[name] for name in _KEY}
        await self._store.execute(connection, {**where, "new_reply": stored_reply})
        return result

    async def sweep(self) -> None:
        """Deletes expired replies in small batches."""
        while await self._delete_batch() == _BATCH:
            pass

    async def _delete_batch(self) -> int:
        table = self._table
        keys = list(table.primary_key)
        old = (
            select(*keys)
            .where(table.c.created_at < func.now() - RETENTION)
            .limit(_BATCH)
            .cte("old")
        )
        statement = delete(table).where(*(key == old.c[key.name] for key in keys))
        async with self._engine.begin() as connection:
            return (await connection.execute(statement)).rowcount


def _key_of(caller: str, request: Message, reply: type[Message]) -> dict[str, str]:
    """The primary key of a request's row."""
    method = reply.DESCRIPTOR.full_name
    return {"caller": caller, "method": method, "request_id": _request_id(request)}


def _request_id(request: Message) -> str:
    return str(request.request_id)  # type: ignore[attr-defined]


def hash_of(request: Message) -> bytes:
    """A hash of the request's body."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
