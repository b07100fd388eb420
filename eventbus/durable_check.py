"""Detects a durable consumer that is deleted or paused at the broker.

Fetching from either returns nothing and no error.
"""

import asyncio
from datetime import datetime

import structlog

from eventbus.broker import PullConsumer

_log = structlog.get_logger(__name__)
_INTERVAL_SECONDS = 5.0


class DurableCheck:
    """Looks at a durable consumer every few seconds."""

    def __init__(self, pull_consumer: PullConsumer, consumer_name: str) -> None:
        self._pull_consumer, self._consumer_name = pull_consumer, consumer_name
        self._due_at = 0.0
        self._paused_until: datetime | None = None

    async def run_if_due(self) -> None:
        """Logs the beginning of a pause; raises BrokerUnavailable if the consumer is deleted."""
        now = asyncio.get_running_loop().time()
        if now <= self._due_at:
            return
        paused_until = (await self._pull_consumer.lag()).paused_until
        if paused_until and paused_until != self._paused_until:
            _log.warning(
                "durable consumer paused", consumer=self._consumer_name, until=str(paused_until)
            )
        self._paused_until = paused_until
        self._due_at = now + _INTERVAL_SECONDS
