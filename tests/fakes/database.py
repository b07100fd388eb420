"""A database whose transactions are one unit of work in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class InMemoryDatabase:
    """Opens one unit of work again and again; `open` counts the open transactions."""

    def __init__(self, uow: Any) -> None:
        self.uow, self.open = uow, 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        self.open += 1
        try:
            yield self.uow
        finally:
            self.open -= 1

    read_only = transaction
    single_statements = transaction
