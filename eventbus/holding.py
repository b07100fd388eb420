"""Keeping messages ours while they are handled, however slow the database is.

Otherwise another replica would get them too, and take our try for one that crashed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from eventbus.broker import Message, PullConsumer


@asynccontextmanager
async def holding(
    source: PullConsumer, messages: Sequence[Message], seconds: float
) -> AsyncIterator[None]:
    """Tells the broker every so many seconds that messages are still being handled."""

    async def hold() -> None:
        while True:
            await asyncio.sleep(seconds)
            for message in messages:
                await source.in_progress(message)

    task = asyncio.create_task(hold())
    try:
        yield
    finally:
        task.cancel()
