"""Pools whose connections refuse writes, as after a failover to a standby."""

from contextlib import AsyncExitStack

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


async def fill_pool(engine: AsyncEngine, read_only: int, writable: int = 0) -> None:
    """Opens connections and returns them to the pool; the read-only ones are taken first."""
    async with AsyncExitStack() as opened:
        for index in range(read_only + writable):
            connection = await opened.enter_async_context(engine.connect())
            if index < read_only:
                await connection.execute(text("SET default_transaction_read_only = on"))
                await connection.commit()
