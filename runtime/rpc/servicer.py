"""The base of every servicer: transactions and idempotent requests."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.auth.authentication import current_caller
from runtime.database.idempotency import IdempotencyStore
from runtime.database.transactions import Transactions

Reply = TypeVar("Reply", bound=Message)


class HasConnection(Protocol):
    """A unit of work over one connection."""

    connection: AsyncConnection

    async def flush_events(self) -> None:
        """Writes the collected events to the outbox."""


Uow = TypeVar("Uow", bound=HasConnection)


class Servicer(Generic[Uow]):
    """Answers a repeated request with its first reply.

    The reply is stored under caller, method and `request_id`, in the transaction of the effect.
    """

    def __init__(self, database: Transactions[Uow], idempotency: IdempotencyStore) -> None:
        self._database, self._idempotency = database, idempotency

    async def run_once(
        self, request: Any, reply: type[Reply], handler: Callable[[Uow], Awaitable[Reply]]
    ) -> Reply:
        """Runs the handler in a transaction, unless the request was answered before.

        Raises RequestIdReused, and what the handler raises: then nothing is stored.
        """
        async with self._database.transaction() as uow:
            return await self._idempotency.run_once(
                uow.connection, current_caller().scope, request, reply, lambda: handler(uow)
            )

    async def stored_reply(self, request: Any, reply: type[Reply]) -> Reply | None:
        """The reply that the request got before, if any; raises RequestIdReused."""
        async with self._database.read_only() as uow:
            return await self._idempotency.find(
                uow.connection, current_caller().scope, request, reply
            )
